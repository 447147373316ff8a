"""Detection: labeled boxes in an image column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import RowScore
from polysense.core.geometry import Geometry
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.modality_spec import ModelSize
from polysense.core.row_spec import RowSpec
from polysense.core.sample import Sample
from polysense.core.task_spec import Answer, Arrays, BatchRows, Measure, TaskPreset
from polysense.core.unsupported import Unsupported
from polysense.evaluation.instances import InstanceContribution, SurestScore
from polysense.evaluation.metrics.average_precision import image_scores
from polysense.tasks.detection.metrics import detection_metrics, detection_scorer, image_boxes
from polysense.tasks.detection.record import DetectionTarget

__all__ = ["SPEC", "DetectionSpec", "in_original"]


class _Contribution(InstanceContribution[DetectionTarget]):
    measures = (
        Measure("image_precision", "average precision of an image", "pp"),
        Measure("box_quality", "score times IoU of a box", "pp"),
    )


class DetectionSpec(RowSpec[DetectionTarget]):
    """Labeled boxes.

    Its row statistics, in pixels of the original images: `truth`, object [rows], each float64 [boxes, 7] (label, kind,
    area, left, top, right, bottom); `predicted`, object [rows], each float64 [detections, 6] (label, corners, score),
    the surest first; `sizes`, int64 [rows, 2], (height, width), 0 without an image; and what these say of each image:
    `precision`, float64 [rows], and `quality`, float64 [rows, 2], see `image_scores`.
    """

    name = "detection"
    record = DetectionTarget
    truth = "polysense.tasks.detection.truth:BoxTruth"
    rank = 56
    decode = "polysense.tasks.detection.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = "polysense.tasks.detection.infer:claim"
    explained = SurestScore[DetectionTarget](score=5, of="box of ")
    prior = Unsupported("a row without its image has no boxes")
    proper_score = Unsupported("a score is the expected IoU of a box, and no probability of it")
    contribution = _Contribution()
    average = Unsupported("boxes of several models lie in different places")
    align = "polysense.tasks.detection.align:align"
    join = "polysense.tasks.detection.join:join"
    summary = Unsupported("its metrics say what there is to say")
    report_section = "polysense.tasks.detection.report_section:report_sections"
    sample_outputs = "polysense.tasks.detection.sample_output:sample_outputs"
    class_probabilities = Unsupported("nobody has said which boxes might have been there")
    conformal = Unsupported("no set of boxes holds the true ones with a stated probability")
    numbers = Unsupported("it predicts boxes, and no numbers")
    mistakes = "polysense.tasks.detection.mistakes:mistakes"
    editor = Unsupported(
        "boxes are not drawn on the labeling page yet; draw them in Label Studio or CVAT and convert the file"
    )

    def preset(self, size: ModelSize, delimiter: str | None) -> TaskPreset:
        """Boxes from every place of the image's feature maps."""
        return TaskPreset(target={"type": self.name}, head={"type": "dense_detection"})

    def collate(
        self,
        target: DetectionTarget,
        samples: Sequence[Sample],
        num_rows: int,
        *,
        all_references: bool,
        prompt_length: int,
    ) -> Arrays:
        values = [sample.targets.get(target.name) for sample in samples]
        most = max(1, *(len(each) for each in values if each is not None), 1)
        present = np.zeros(num_rows, dtype=bool)
        labels, kinds = np.full((num_rows, most), -1, dtype=np.int64), np.zeros((num_rows, most), dtype=np.int64)
        boxes, originals = (np.zeros((num_rows, most, 4), dtype=np.float32) for _ in range(2))
        areas = np.zeros((num_rows, most), dtype=np.float32)
        for row, value in enumerate(values):
            if value is None:
                continue
            present[row], own = True, slice(None, len(value))
            labels[row, own], kinds[row, own], areas[row, own] = value[:, 0], value[:, 1], value[:, 2]
            originals[row, own], boxes[row, own] = value[:, 3:7], value[:, 7:]
        return {
            "present": present, "labels": labels, "kinds": kinds, "areas": areas, "originals": originals,
            "boxes": boxes,
        }  # fmt: skip

    def lies_in(self, target: DetectionTarget) -> str | None:
        return target.over

    def row_statistics(
        self, target: DetectionTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        num = len(truth["present"])
        predicted, true = np.empty(num, dtype=object), np.empty(num, dtype=object)
        precision, quality = np.zeros(num), np.zeros((num, 2))
        geometry = rows.geometry.get(target.over)
        sizes = np.tile(np.array(target.size), (num, 1)) if geometry is None else geometry.sizes
        for row in range(num):
            predicted[row] = in_original(outputs[0]["values"][row], geometry, row)
            own = truth["labels"][row] >= 0
            columns = [truth[name][row, own, None] for name in ("labels", "kinds", "areas")]
            true[row] = np.concatenate([*columns, truth["originals"][row, own]], axis=1).astype(np.float64)
            precision[row], *quality[row] = image_scores(image_boxes(true[row], predicted[row]))
        return {
            "present": truth["present"], "truth": true, "predicted": predicted, "precision": precision,
            "quality": quality, "sizes": sizes,
        }  # fmt: skip

    def metrics(self, target: DetectionTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        return marked(
            detection_metrics(target),
            headline="map_50",
            selection="map",
            finer="box_quality",
            reported=("map", "map_50", "recall_100", "box_quality"),
        )

    def scorer(self, target: DetectionTarget, statistics: Statistics) -> Scorer:
        return detection_scorer(target, statistics)

    def baselines(self, target: DetectionTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """In every image the median box of each class, as sure as the class is frequent."""
        usual = np.array(target.usual_boxes, dtype=np.float64).reshape(-1, 6)

        def prior(statistics: Statistics) -> Statistics:
            sizes = statistics["sizes"]
            result = {**statistics, "predicted": np.empty(len(sizes), dtype=object)}
            precision, quality = np.zeros(len(sizes)), np.zeros((len(sizes), 2))
            for row, (height, width) in enumerate(sizes):
                scaled = usual[:, 2:] * np.array([width, height, width, height])
                result["predicted"][row] = np.column_stack([usual[:, 0], scaled, usual[:, 1]])
                precision[row], *quality[row] = image_scores(
                    image_boxes(statistics["truth"][row], result["predicted"][row])
                )
            return {**result, "precision": precision, "quality": quality}

        return {"class-prior baseline": prior}

    def row_score(self, target: DetectionTarget, statistics: Statistics) -> RowScore:
        """The average precision of an image's boxes."""
        values = np.where(statistics["present"], statistics["precision"], np.nan)
        return RowScore(name="average precision of an image", higher_is_better=True, values=values)


def in_original(values: np.ndarray, geometry: Geometry | None, row: int) -> np.ndarray:
    """What a head predicts of one row, in pixels of the original image.

    Args:
        values: float [detections, 6]: label, corners in the model's input, score; a score of 0 is no detection.
        geometry: Of the rows; None where it is not known, and boxes stay as they are.
        row: Which one.

    Returns:
        float64 [detections, 6], within the image; those of no area left out.
    """
    kept: np.ndarray = values[values[:, 5] > 0].astype(np.float64)
    if geometry is None or not len(kept):
        return kept
    matrix, (height, width) = geometry.matrices[row], geometry.sizes[row]
    if not height or not width or not np.isfinite(matrix).all():
        return kept[:0]
    corners = (kept[:, 1:5] - np.tile(matrix[:2, 2], 2)) / np.tile([matrix[0, 0], matrix[1, 1]], 2)
    kept[:, 1:5] = np.clip(corners, 0, [width, height, width, height])
    return kept[(kept[:, 3:5] > kept[:, 1:3]).all(axis=1)]


SPEC = DetectionSpec()
