"""A row's labels and the predicted ones."""

from __future__ import annotations

import numpy as np

from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.multilabel.record import MultilabelTarget

__all__ = ["sample_outputs"]


def sample_outputs(
    target: MultilabelTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The predicted labels; correct if all of them are."""
    statistics = evaluation.statistics[target.name]
    truth, predicted = (statistics[name][position] > 0.5 for name in ("truth", "predicted"))

    def listed(labels: np.ndarray) -> str:
        names = [str(name) for name, there in zip(target.classes, labels, strict=True) if there]
        return ", ".join(names) or "none"

    return [
        SampleOutput(references=[listed(truth)], value=listed(predicted), is_correct=bool((predicted == truth).all()))
    ]
