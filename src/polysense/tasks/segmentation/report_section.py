"""Segmentation in the report: each class's IoU beside the majority baseline's, and the worst and best images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset, row_number
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.metrics.base import ratio
from polysense.tasks.segmentation.overlay import overlay_of
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["ClassScore", "image_iou", "report_sections"]

_NUM_IMAGES = 4
_MAX_CLASSES = 60


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well one class's pixels are predicted.

    Attributes:
        name: The class.
        share: Of the true pixels.
        iou: With its interval.
        dice: Likewise.
        baseline: IoU of the majority-class baseline; NaN where it was not measured.
    """

    name: str
    share: float
    iou: Interval
    dice: Interval
    baseline: float


def report_sections(
    target: SegmentationTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """The classes with the most pixels first; then images, where the rows are there."""
    statistics, metrics = evaluation.statistics[target.name], evaluation.metrics[target.name]
    if not evaluation.num_counted(target.name):
        return []
    pixels = statistics["truth"].sum(axis=0)
    order = np.argsort(-pixels, kind="stable")[:_MAX_CLASSES].tolist()
    classes = [
        ClassScore(
            name=target.classes[i],
            share=float(pixels[i] / max(pixels.sum(), 1)),
            iou=metrics[f"iou/{target.classes[i]}"],
            dice=metrics[f"dice/{target.classes[i]}"],
            baseline=float("nan") if baseline is None else baseline.value(target.name, f"iou/{target.classes[i]}"),
        )
        for i in order
    ]
    groups = [] if dataset is None else _images(target, evaluation, dataset)
    values = {"target": target, "classes": classes, "groups": groups}
    return [ReportSection(template="polysense.tasks.segmentation:report.html.j2", values=values)]


def image_iou(truth: np.ndarray, predicted: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Each image's mean IoU over the classes that occur in it; NaN where none does. Arguments as in `pixel_counts`."""
    either = truth + predicted - both
    return ratio(ratio(both, either, 0.0).sum(axis=1), (either > 0).sum(axis=1))


def _images(
    target: SegmentationTarget, evaluation: Evaluation, dataset: TableDataset
) -> list[tuple[str, list[object]]]:
    statistics = evaluation.statistics[target.name]
    scores = image_iou(*(statistics[name] for name in ("truth", "predicted", "both")))
    rows = np.flatnonzero(statistics["present"] & np.isfinite(scores))
    order = rows[np.argsort(scores[rows], kind="stable")]
    num = min(_NUM_IMAGES, (len(order) + 1) // 2)
    groups: list[tuple[str, list[object]]] = []
    for name, chosen in (("Worst images", order[:num]), ("Best images", order[: num - 1 : -1][:num])):
        overlays: list[object] = []
        for i in chosen.tolist():
            position = int(evaluation.rows[i])
            overlay = overlay_of(target, dataset, position, statistics["mask"][i])
            overlays.append((f"row {row_number(dataset, position)}: mean IoU {scores[i]:.3f}", overlay))
        groups.append((name, overlays))
    return groups
