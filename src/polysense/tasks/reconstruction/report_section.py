"""Reconstruction quality in the report, a line for each column: skill and error, beside the mean predictor's."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.reconstruction.record import ReconstructionTarget

__all__ = ["report_sections"]

# A column's scores: of the model, or of the mean predictor on the same rows.
_HEADS = {
    "skill": "skill ↑", "imputed_skill": "imputed ↑", "error": "error ↓", "imputed_error": "imputed ↓",
    "mean error": "mean baseline ↓",
    "accuracy": "accuracy ↑", "imputed_accuracy": "imputed ↑", "mean accuracy": "majority-class baseline ↑",
}  # fmt: skip


def report_sections(
    target: ReconstructionTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """A line for each column; the baseline is the mean predictor."""

    def score(kind: str, name: str) -> tuple[Interval, str]:
        """A value, and why it is undefined, where it is."""
        of_mean, key = kind.startswith("mean "), f"{kind.removeprefix('mean ')}/{name}"
        if not of_mean:
            return evaluation.metrics[target.name][key], evaluation.undefined[target.name].get(key, "")
        return Interval(float("nan")) if baseline is None else baseline.metrics[target.name][key], ""

    columns = {name: [score(kind, name) for kind in _HEADS] for name in target.members}
    values = {"target": target, "heads": list(_HEADS.values()), "columns": columns}
    return [ReportSection(template="polysense.tasks.reconstruction:report.html.j2", values=values)]
