"""A row's class and the predicted one."""

from __future__ import annotations

from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["sample_outputs"]


def sample_outputs(
    target: ClassificationTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The predicted class with its probability."""
    statistics = evaluation.statistics[target.name]
    truth, value = (int(statistics[name][position]) for name in ("truth", "predicted"))
    output = SampleOutput(
        references=[str(target.classes[truth])],
        value=str(target.classes[value]),
        probability=float(statistics["probabilities"][position, value]),
        is_correct=value == truth,
    )
    return [output]
