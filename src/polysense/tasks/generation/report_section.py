"""A few rows of a text target in the report: the generated text beside its references."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.report_section import ReportSection
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.example_rows import example_rows
from polysense.tasks.generation.record import GenerationTarget

__all__ = ["GeneratedRow", "report_sections"]

_NUM_ROWS = 10
_MAX_REFERENCES = 5


@dataclass(frozen=True, kw_only=True)
class GeneratedRow:
    """One row.

    Attributes:
        row: Its number in the table.
        references: The first of the texts that it is compared with.
        num_more: How many more there are.
        output: The generated text.
    """

    row: int
    references: tuple[str, ...]
    num_more: int
    output: str


def report_sections(
    target: GenerationTarget, evaluation: Evaluation, baseline: Evaluation | None
) -> list[ReportSection]:
    """Ten rows; none where no text was generated."""
    statistics = evaluation.statistics[target.name]
    if "predicted" not in statistics:
        return []
    rows = [
        GeneratedRow(
            row=int(evaluation.rows[i]),
            references=tuple(statistics["references"][i][:_MAX_REFERENCES]),
            num_more=max(0, len(statistics["references"][i]) - _MAX_REFERENCES),
            output=statistics["predicted"][i],
        )
        for i in example_rows(statistics["present"], _NUM_ROWS)
    ]
    if not rows:
        return []
    values = {"target": target, "rows": rows, "num_counted": evaluation.num_counted(target.name)}
    return [ReportSection(template="polysense.tasks.generation:report.html.j2", values=values)]
