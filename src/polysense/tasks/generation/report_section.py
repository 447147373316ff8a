"""A few rows of a text target in the report: the generated text beside its references."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset, row_number
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.generation.record import GenerationTarget

__all__ = ["report_sections"]

_NUM_ROWS = 10
_MAX_REFERENCES = 5


def report_sections(
    target: GenerationTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """Ten rows; none where no text was generated."""
    statistics = evaluation.statistics[target.name]
    if "predicted" not in statistics:
        return []
    rows = [
        (row_number(dataset, int(evaluation.rows[i])), statistics["references"][i], statistics["predicted"][i])
        for i in evaluation.example_rows(target.name, _NUM_ROWS)
    ]
    if not rows:
        return []
    counted = evaluation.num_counted(target.name)
    values = {"target": target, "rows": rows, "max_references": _MAX_REFERENCES, "num_counted": counted}
    return [ReportSection(template="polysense.tasks.generation:report.html.j2", values=values)]
