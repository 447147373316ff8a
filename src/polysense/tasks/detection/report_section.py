"""Detection in the report: each class's average precision beside the baseline's, and the worst and best images."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.instance_report import class_scores, worst_and_best
from polysense.tasks.detection.overlay import overlay_of
from polysense.tasks.detection.record import DetectionTarget

__all__ = ["report_sections"]


def report_sections(
    target: DetectionTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """The classes with the most boxes first; then images, where the rows are there."""
    if not evaluation.num_counted(target.name):
        return []
    statistics = evaluation.statistics[target.name]
    classes, note = class_scores(target, evaluation, baseline, target.written_score, "boxes")
    groups: list[tuple[str, list[object]]] = []
    if dataset is not None:
        rows = dataset

        def drawn(i: int, position: int) -> object | None:
            return overlay_of(target, rows, position, statistics["truth"][i], statistics["predicted"][i])

        groups = worst_and_best(target, evaluation, rows, drawn)
    values = {"target": target, "classes": classes, "groups": groups, "note": note}
    return [ReportSection(template="polysense.tasks.detection:report.html.j2", values=values)]
