"""Instance segmentation: labeled things in an image column, each with a mask of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import RowScore
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.modality_spec import ModelSize
from polysense.core.row_spec import RowSpec
from polysense.core.sample import Sample
from polysense.core.task_spec import Answer, Arrays, BatchRows, Measure, TaskPreset
from polysense.core.unsupported import Unsupported
from polysense.data.media.mask_codes import from_runs
from polysense.evaluation.instances import InstanceContribution, SurestScore
from polysense.evaluation.metrics.average_precision import (
    AveragePrecisionScorer,
    ImageInstances,
    average_precision_metrics,
    image_scores,
)
from polysense.evaluation.metrics.instance_matching import CROWD
from polysense.tasks.instance_segmentation.placed import box_runs, in_original, mask_overlaps, packed
from polysense.tasks.instance_segmentation.record import InstanceTarget
from polysense.tasks.instance_segmentation.target import NUM_FIELDS

__all__ = ["SPEC", "InstanceSegmentationSpec"]

_MOST_SHOWN = 50  # masks of a row that evaluations keep


class _Contribution(InstanceContribution[InstanceTarget]):
    measures = (
        Measure("image_precision", "average precision of an image", "pp"),
        Measure("mask_quality", "score times IoU of a mask", "pp"),
    )


class InstanceSegmentationSpec(RowSpec[InstanceTarget]):
    """Labeled things with masks.

    Its row statistics, in pixels of the original images: `truth`, object [rows], each float64 [things, 3] (label, kind,
    area); `predicted`, object [rows], each float64 [detections, 3] (label, score, area), the surest first; `overlaps`,
    object [rows], each float64 [detections * things], IoU, of a crowd the share that lies in it; `usual_overlaps` and
    `usual_areas`, the same of the baseline's boxes; `masks`, object [rows], the surest detections' runs (`packed`), for
    whoever draws them; `sizes`, int64 [rows, 2], (height, width); and `precision` and `quality`, see `image_scores`.
    """

    name = "instance_segmentation"
    record = InstanceTarget
    truth = "polysense.tasks.instance_segmentation.truth:InstanceTruth"
    rank = 55
    decode = "polysense.tasks.instance_segmentation.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = "polysense.tasks.instance_segmentation.infer:claim"
    explained = SurestScore[InstanceTarget](score=1)
    prior = Unsupported("a row without its image has no masks")
    proper_score = Unsupported("a score is the expected quality of a mask, and no probability of it")
    contribution = _Contribution()
    average = Unsupported("masks of several models are of different things")
    align = "polysense.tasks.instance_segmentation.align:align"
    join = "polysense.tasks.instance_segmentation.join:join"
    summary = Unsupported("its metrics say what there is to say")
    report_section = "polysense.tasks.instance_segmentation.report_section:report_sections"
    sample_outputs = "polysense.tasks.instance_segmentation.sample_output:sample_outputs"
    class_probabilities = Unsupported("nobody has said which things might have been there")
    conformal = Unsupported("no set of masks holds the true ones with a stated probability")
    numbers = Unsupported("it predicts masks, and no numbers")
    editor = Unsupported(
        "masks are not painted on the labeling page yet; paint them in Label Studio or CVAT and convert the file"
    )
    mistakes = "polysense.tasks.instance_segmentation.mistakes:mistakes"

    def preset(self, size: ModelSize, delimiter: str | None) -> TaskPreset:
        """Queries over the image's feature maps."""
        return TaskPreset(target={"type": self.name}, head={"type": "query_masks"})

    def collate(
        self,
        target: InstanceTarget,
        samples: Sequence[Sample],
        num_rows: int,
        *,
        all_references: bool,
        prompt_length: int,
    ) -> Arrays:
        values = [sample.targets.get(target.name) for sample in samples]
        there = [(row, value) for row, value in enumerate(values) if value is not None]
        seen = {row: int(value[0, 3]) if len(value) else 0 for row, value in there}
        most = max(1, *(len(value) for _, value in there), 1)
        longest = max(1, *(value.shape[1] - NUM_FIELDS - seen[row] for row, value in there), 1)
        present = np.zeros(num_rows, dtype=bool)
        labels, kinds = np.full((num_rows, most), -1, dtype=np.int64), np.zeros((num_rows, most), dtype=np.int64)
        areas = np.zeros((num_rows, most), dtype=np.float32)
        runs = np.zeros((num_rows, most, longest), dtype=np.int32)
        masks = np.zeros((num_rows, most, *target.size), dtype=np.uint8)
        for row, value in there:
            present[row], own = True, slice(None, len(value))
            labels[row, own], kinds[row, own], areas[row, own] = value[:, 0], value[:, 1], value[:, 2]
            start = NUM_FIELDS + seen[row]
            runs[row, own, : value.shape[1] - start] = value[:, start:]
            for index, inputs in enumerate(value[:, NUM_FIELDS:start].astype(np.int64) if seen[row] else ()):
                masks[row, index] = from_runs(inputs, target.size)
        return {"present": present, "labels": labels, "kinds": kinds, "areas": areas, "runs": runs, "masks": masks}

    def lies_in(self, target: InstanceTarget) -> str | None:
        return target.over

    def row_statistics(
        self, target: InstanceTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        num = len(truth["present"])
        ragged = {
            name: np.empty(num, dtype=object)
            for name in ("truth", "predicted", "overlaps", "usual_overlaps", "usual_areas", "masks")
        }
        precision, quality = np.zeros(num), np.zeros((num, 2))
        geometry = rows.geometry.get(target.over)
        sizes = np.tile(np.array(target.size), (num, 1)) if geometry is None else geometry.sizes
        usual = np.array(target.usual_boxes, dtype=np.float64).reshape(-1, 6)
        for row in range(num):
            own = truth["labels"][row] >= 0
            columns = [truth[name][row, own, None] for name in ("labels", "kinds", "areas")]
            ragged["truth"][row] = np.concatenate(columns, axis=1).astype(np.float64)
            crowd = truth["kinds"][row, own] == CROWD
            things, size = [*truth["runs"][row, own]], (int(sizes[row, 0]), int(sizes[row, 1]))
            ragged["predicted"][row], masks = in_original(outputs[0], geometry, row, target.size)
            ragged["overlaps"][row] = mask_overlaps(masks, things, size, crowd).ravel()
            boxes, ragged["usual_areas"][row] = box_runs(usual[:, 2:], size)
            ragged["usual_overlaps"][row] = mask_overlaps(boxes, things, size, crowd).ravel()
            ragged["masks"][row] = packed(masks[:_MOST_SHOWN])
            scores = image_scores(_instances(*(ragged[name][row] for name in ("truth", "predicted", "overlaps"))))
            precision[row], *quality[row] = scores
        return {"present": truth["present"], "precision": precision, "quality": quality, "sizes": sizes, **ragged}

    def metrics(self, target: InstanceTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        return marked(
            average_precision_metrics(target.classes, ("mask", "masks")),
            headline="map_50",
            selection="map",
            finer="mask_quality",
            reported=("map", "map_50", "recall_100", "mask_quality"),
        )

    def scorer(self, target: InstanceTarget, statistics: Statistics) -> Scorer:
        rows = np.flatnonzero(statistics["present"])
        images = [_instances(*(statistics[name][row] for name in ("truth", "predicted", "overlaps"))) for row in rows]
        return AveragePrecisionScorer(target.classes, images, statistics["quality"][rows], "mask")

    def baselines(self, target: InstanceTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """In every image the median box of each class, filled, as sure as the class is frequent."""
        usual = np.array(target.usual_boxes, dtype=np.float64).reshape(-1, 6)

        def prior(statistics: Statistics) -> Statistics:
            num = len(statistics["present"])
            result = {**statistics, "predicted": np.empty(num, dtype=object), "masks": np.empty(num, dtype=object)}
            precision, quality = np.zeros(num), np.zeros((num, 2))
            for row in range(num):
                areas = statistics["usual_areas"][row]
                result["predicted"][row], result["masks"][row] = np.column_stack([usual[:, :2], areas]), packed([])
                scores = image_scores(
                    _instances(statistics["truth"][row], result["predicted"][row], statistics["usual_overlaps"][row])
                )
                precision[row], *quality[row] = scores
            overlaps = statistics["usual_overlaps"]
            return {**result, "precision": precision, "quality": quality, "overlaps": overlaps}

        return {"class-prior baseline": prior}

    def row_score(self, target: InstanceTarget, statistics: Statistics) -> RowScore:
        """The average precision of an image's masks."""
        values = np.where(statistics["present"], statistics["precision"], np.nan)
        return RowScore(name="average precision of an image", higher_is_better=True, values=values)


def _instances(truth: np.ndarray, predicted: np.ndarray, overlaps: np.ndarray) -> ImageInstances:
    return ImageInstances(
        labels=truth[:, 0].astype(np.int64),
        kinds=truth[:, 1].astype(np.int64),
        areas=truth[:, 2],
        detected=predicted[:, 0].astype(np.int64),
        scores=predicted[:, 1],
        detected_areas=predicted[:, 2],
        overlaps=overlaps.reshape(len(predicted), len(truth)),
    )


SPEC = InstanceSegmentationSpec()
