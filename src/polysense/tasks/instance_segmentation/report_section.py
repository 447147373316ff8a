"""Instance masks in the report: each class's average precision beside the baseline's, the worst and best images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset, row_number
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.instance_segmentation.overlay import overlay_of
from polysense.tasks.instance_segmentation.record import InstanceTarget

__all__ = ["ClassScore", "report_sections"]

_NUM_IMAGES = 4
_MAX_CLASSES = 60


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well one class's things are predicted.

    Attributes:
        name: The class.
        num_things: That are to be found.
        precision: Average precision, with its interval.
        at_half: At an IoU of .5.
        baseline: Likewise, of the class-prior baseline; NaN where it was not measured.
    """

    name: str
    num_things: int
    precision: Interval
    at_half: Interval
    baseline: float


def report_sections(
    target: InstanceTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """The classes with the most things first; then images, where the rows are there."""
    statistics, metrics = evaluation.statistics[target.name], evaluation.metrics[target.name]
    if not evaluation.num_counted(target.name):
        return []
    things = np.concatenate([np.zeros((0, 3)), *statistics["truth"][statistics["present"]]])
    counts = np.bincount(things[things[:, 1] == 0, 0].astype(np.int64), minlength=target.other + 1)
    classes = [
        ClassScore(
            name=name,
            num_things=int(counts[i]),
            precision=metrics[f"ap/{name}"],
            at_half=metrics[f"ap_50/{name}"],
            baseline=float("nan") if baseline is None else baseline.value(target.name, f"ap_50/{name}"),
        )
        for i in np.argsort(-counts[: target.other], kind="stable")[:_MAX_CLASSES].tolist()
        for name in (target.classes[i],)
    ]
    notes = [f"Masks of a score from {target.written_score:g} on are drawn and written; the metrics count all."]
    if num_unknown := int(counts[target.other]):
        notes.append(f"{num_unknown:,} things have a label that no training row has, and count as missed.")
    if num_ignored := len(things) - int(counts.sum()):
        notes.append(f"{num_ignored:,} crowds and difficult things are not to be found.")
    groups = [] if dataset is None else _images(target, evaluation, dataset)
    values = {"target": target, "classes": classes, "groups": groups, "note": " ".join(notes)}
    return [ReportSection(template="polysense.tasks.instance_segmentation:report.html.j2", values=values)]


def _images(target: InstanceTarget, evaluation: Evaluation, dataset: TableDataset) -> list[tuple[str, list[object]]]:
    statistics = evaluation.statistics[target.name]
    scores = statistics["precision"]
    rows = np.flatnonzero(statistics["present"] & (statistics["quality"][:, 1] > 0))
    order = rows[np.argsort(scores[rows], kind="stable")]
    num = min(_NUM_IMAGES, (len(order) + 1) // 2)
    groups: list[tuple[str, list[object]]] = []
    for name, chosen in (("Worst images", order[:num]), ("Best images", order[: num - 1 : -1][:num])):
        overlays: list[object] = []
        for i in chosen.tolist():
            position = int(evaluation.rows[i])
            overlay = overlay_of(target, dataset, position, statistics["predicted"][i], statistics["masks"][i])
            if overlay is not None:
                overlays.append((f"row {row_number(dataset, position)}: average precision {scores[i]:.3f}", overlay))
        groups.append((name, overlays))
    return groups
