"""Segmentation: a class for every pixel of an image column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import RowScore
from polysense.core.geometry import Placement
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.modality_spec import ModelSize
from polysense.core.row_spec import RowSpec
from polysense.core.task_spec import Answer, Arrays, BatchRows, Contribution, Explained, Measure, TaskPreset
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError
from polysense.tasks.segmentation.boundaries import boundary_scores
from polysense.tasks.segmentation.metrics import SegmentationScorer, pixel_counts, segmentation_metrics
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.tasks.segmentation.runs import runs_of

__all__ = ["SPEC", "SegmentationSpec"]

_RAREST = 1e-6


class _Contribution(Contribution[SegmentationTarget]):
    """An image's share of right pixels, and its mean log probability, which also sees moves that change no pixel."""

    measures = (Measure("accuracy", "accuracy", "pp"), Measure("log_loss", "log loss", "nats"))
    is_prior_without_columns = True

    def row_values(self, target: SegmentationTarget, statistics: Statistics) -> np.ndarray:
        right = statistics["both"].sum(axis=1) / np.maximum(statistics["num_pixels"], 1)
        return np.column_stack([right, _log_probability(statistics)])


class _Explained(Explained[SegmentationTarget]):
    """How probable the model finds the mask that it predicts, per pixel: of all pixels, or of those of one class.

    The mask stays the same while columns and parts of cells are masked. Pixels that fill the image's shape are void.
    """

    scores_answer = True

    def cell(
        self, target: SegmentationTarget, prediction: Arrays, choice: int, placements: Mapping[str, Placement]
    ) -> np.ndarray:
        mask: np.ndarray = prediction["values"][0].astype(target.dtype)
        result = np.full_like(mask, target.void)
        placement = placements.get(target.over)
        shown = (slice(None), slice(None)) if placement is None else placement.within(*mask.shape)
        result[shown] = mask[shown]
        if choice:
            result[mask != choice - 1] = target.void
        return result

    def choices(self, target: SegmentationTarget) -> Sequence[str]:
        return ("all pixels", *target.classes)

    def chosen(self, target: SegmentationTarget, prediction: Arrays) -> int:
        return 0

    def numbers(self, target: SegmentationTarget, prediction: Arrays, choice: int) -> np.ndarray:
        if "likelihood" not in prediction:
            raise ConfigError(
                f"{target.name}: can't be explained: its head does not say how probable a mask is (`score`)"
            )
        likelihood = prediction["likelihood"].astype(np.float64)
        result: np.ndarray = likelihood[:, 0] / np.maximum(likelihood[:, 2], 1.0)
        return result

    def title(self, target: SegmentationTarget, choice: int) -> str:
        where = "" if choice == 0 else f" where it is {target.classes[choice - 1]!r}"
        return f"log probability of the predicted mask{where}, in nats per pixel"

    def answers(self, target: SegmentationTarget, prediction: Arrays, choice: int) -> Sequence[str] | None:
        return None  # some pixels change with anything


class SegmentationSpec(RowSpec[SegmentationTarget]):
    """A class for every pixel.

    Its row statistics: see `pixel_counts` and `boundary_scores`; `likelihood`, float64 [rows, 2], the summed log
    probability of the true classes and the number of pixels; and `mask`, the predicted mask as runs (`runs_of`), for
    whoever shows it.
    """

    name = "segmentation"
    record = SegmentationTarget
    rank = 55
    decode = "polysense.tasks.segmentation.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = "polysense.tasks.segmentation.infer:claim"
    explained = _Explained()
    prior = Unsupported("a row without its image has no pixels")
    proper_score = Unsupported("its losses are of single pixels, most of them of the background")
    contribution = _Contribution()
    average = Unsupported("the probabilities of single pixels are not kept")
    align = "polysense.tasks.segmentation.align:align"
    join = "polysense.tasks.segmentation.join:join"
    summary = Unsupported("its metrics say what there is to say")
    report_section = "polysense.tasks.segmentation.report_section:report_sections"
    sample_outputs = "polysense.tasks.segmentation.sample_output:sample_outputs"
    class_probabilities = Unsupported("the probabilities of single pixels are not kept")
    conformal = Unsupported("no set of masks holds the true one with a stated probability")
    numbers = Unsupported("it predicts masks, and no numbers")
    mistakes = "polysense.tasks.segmentation.mistakes:mistakes"
    editor = Unsupported(
        "masks are not painted on the labeling page yet; paint them in Label Studio or CVAT and convert the file"
    )

    def preset(self, size: ModelSize, delimiter: str | None) -> TaskPreset:
        """A decoder over the image's feature maps."""
        return TaskPreset(target={"type": self.name}, head={"type": self.name})

    def nothing(self, target: SegmentationTarget, num_rows: int) -> np.ndarray:
        return np.full((num_rows, *target.size), target.void, dtype=target.dtype)

    def lies_in(self, target: SegmentationTarget) -> str | None:
        return target.over

    def row_statistics(
        self, target: SegmentationTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        predicted = outputs[0]["values"]
        results = {
            "present": truth["present"],
            "mask": runs_of(predicted),
            **pixel_counts(target, truth["values"], predicted),
            **boundary_scores(target, truth["values"], predicted),
        }
        if "likelihood" in outputs[0]:
            results["likelihood"] = outputs[0]["likelihood"][:, [0, 2]].astype(np.float64)
        return results

    def metrics(self, target: SegmentationTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        return marked(
            segmentation_metrics(target),
            headline="mean_iou",
            selection="mean_iou",
            finer="log_loss",
            reported=("mean_iou", "mean_dice", "boundary_f1", "boundary_iou", "pixel_accuracy", "log_loss"),
        )

    def scorer(self, target: SegmentationTarget, statistics: Statistics) -> Scorer:
        return SegmentationScorer(target, statistics)

    def baselines(self, target: SegmentationTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """The class with the most pixels, everywhere."""
        shares = np.maximum(np.array(target.class_shares), _RAREST)
        best = int(shares.argmax())

        def majority(statistics: Statistics) -> Statistics:
            truth, num_pixels = statistics["truth"], statistics["num_pixels"]
            predicted, both = np.zeros_like(truth), np.zeros_like(truth)
            predicted[:, best], both[:, best] = num_pixels, truth[:, best]
            likelihood = np.column_stack([truth @ np.log(shares / shares.sum()), truth.sum(axis=1)])
            rest = {name: values for name, values in statistics.items() if name != "mask"}
            if "has_boundary" in rest:  # what is of one class throughout has no outline
                rest["boundary_f1"] = np.where(rest["has_boundary"], 0.0, np.nan)
                rest |= {name: np.zeros_like(rest[name]) for name in ("band_predicted", "band_both") if name in rest}
            return {**rest, "predicted": predicted, "both": both, "likelihood": likelihood}

        return {"majority-class baseline": majority}

    def row_score(self, target: SegmentationTarget, statistics: Statistics) -> RowScore:
        """The share of an image's pixels that are right."""
        known = statistics["present"] & (statistics["num_pixels"] > 0)
        share = statistics["both"].sum(axis=1) / np.maximum(statistics["num_pixels"], 1)
        return RowScore(name="pixel accuracy", higher_is_better=True, values=np.where(known, share, np.nan))


def _log_probability(statistics: Statistics) -> np.ndarray:
    likelihood = statistics["likelihood"]
    result: np.ndarray = likelihood[:, 0] / np.maximum(likelihood[:, 1], 1.0)
    return result


SPEC = SegmentationSpec()
