"""The images with the worst masks, for each class."""

from __future__ import annotations

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["mistakes"]

_MAX_CLASSES = 8
_MAX_ROWS = 3


def mistakes(target: SegmentationTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """Of each class the images in which it occurs and its IoU is lowest, the worst class first; see `TaskSpec`."""
    statistics = evaluation.statistics[target.name]
    truth, predicted, both = (statistics[name].astype(np.float64) for name in ("truth", "predicted", "both"))
    groups = []
    for index, name in enumerate(target.classes):
        either = truth[:, index] + predicted[:, index] - both[:, index]
        rows = np.flatnonzero(statistics["present"] & (either > 0))
        iou = both[rows, index] / either[rows]
        order = np.argsort(iou, kind="stable")[:_MAX_ROWS]
        listed = [Mistake(position=int(rows[i]), words=f"IoU {iou[i]:.2f}") for i in order if iou[i] < 1]
        if listed:
            mean = float(iou.mean())
            group = MistakeGroup(
                title=f"class {name}, not right throughout",
                total=int((iou < 1).sum()),
                mistakes=listed,
                note=f"Mean IoU {mean:.2f}.",
            )
            groups.append((mean, group))
    return [group for _, group in sorted(groups, key=lambda entry: entry[0])[:_MAX_CLASSES]]
