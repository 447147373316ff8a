"""Reconstruction quality in the report, a line for each column: skill and error, beside the mean predictor's."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.report_section import ReportSection
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.reconstruction.record import ReconstructionTarget

__all__ = ["ColumnScore", "ColumnScores", "report_sections"]


@dataclass(frozen=True, kw_only=True)
class ColumnScore:
    """One value.

    Attributes:
        value: With its interval.
        reason: Why it is undefined, where it is.
    """

    value: Interval
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ColumnScores:
    """A reconstructed column.

    Attributes:
        name: The column.
        scores: In the order of the table's heads.
    """

    name: str
    scores: tuple[ColumnScore, ...]


def report_sections(
    target: ReconstructionTarget, evaluation: Evaluation, baseline: Evaluation | None
) -> list[ReportSection]:
    """A line for each column.

    Args:
        target: The reconstruction.
        evaluation: Of the model.
        baseline: Of the mean predictor, on the same rows.
    """
    metrics, reasons = evaluation.metrics[target.name], evaluation.undefined[target.name]

    def own(key: str) -> ColumnScore:
        return ColumnScore(value=metrics[key], reason=reasons.get(key, ""))

    def of_mean(key: str) -> ColumnScore:
        return ColumnScore(value=Interval(float("nan")) if baseline is None else baseline.metrics[target.name][key])

    columns = []
    for name in target.members:
        scores = [own(f"{kind}/{name}") for kind in ("skill", "imputed_skill", "error", "imputed_error")]
        scores.append(of_mean(f"error/{name}"))
        scores += [own(f"{kind}/{name}") for kind in ("accuracy", "imputed_accuracy")]
        scores.append(of_mean(f"accuracy/{name}"))
        columns.append(ColumnScores(name=name, scores=tuple(scores)))
    heads = (
        "skill ↑", "imputed ↑", "error ↓", "imputed ↓", "mean baseline ↓",
        "accuracy ↑", "imputed ↑", "majority-class baseline ↑",
    )  # fmt: skip
    values = {"target": target, "heads": heads, "columns": columns}
    return [ReportSection(template="polysense.tasks.reconstruction:report.html.j2", values=values)]
