"""A row's numbers and the predicted ones."""

from __future__ import annotations

from polysense.core.sample_output import SampleOutput
from polysense.data.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.regression.record import RegressionTarget

__all__ = ["sample_outputs"]


def sample_outputs(
    target: RegressionTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The predicted numbers, in the table's units; neither right nor wrong."""
    statistics = evaluation.statistics[target.name]
    truth, predicted = (_numbers(target, statistics[name][position].tolist()) for name in ("truth", "predicted"))
    return [SampleOutput(references=[truth], value=predicted)]


def _numbers(target: RegressionTarget, values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(target.columns, values, strict=True))
