"""Row statistics and metrics of predictions that a test writes down, by way of the task's spec."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from polysense.core.batch import Batch, ValueTruth
from polysense.core.metric import Statistics
from polysense.core.prediction import Prediction
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.task_spec import TargetReader
from polysense.evaluation.evaluator import batch_statistics
from polysense.evaluation.target_metrics import metrics_of

__all__ = ["Texts", "compute", "statistics_of"]


class Texts:
    """A reader of texts that were written down."""

    def __init__(self, predicted: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        self._predicted, self._references = iter(predicted), references

    def spell(self, value: np.ndarray) -> str:
        del value
        return next(self._predicted)

    def references(self, row: int) -> Sequence[str]:
        return self._references[row]


def statistics_of(
    target: Target,
    prediction: Prediction,
    values: np.ndarray,
    present: np.ndarray | None = None,
    reader: TargetReader | None = None,
) -> Statistics:
    """The statistics of rows 0, 1, ... from a prediction and the truth's values."""
    present = np.ones(len(values), dtype=bool) if present is None else present
    truth = ValueTruth(values=torch.from_numpy(values.copy()), present=torch.from_numpy(present.copy()))
    batch = Batch(rows=torch.arange(len(values)), columns={}, truths={target.name: truth})
    return batch_statistics(target, batch, [prediction], reader)


def compute(
    target: Target,
    prediction: Prediction,
    values: np.ndarray,
    present: np.ndarray,
    *,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every metric of a target, per resample; one resample in which each row counts once by default."""
    if weights is None:
        weights = np.ones((1, int(np.count_nonzero(present))))
    scorer = task(target.task).scorer(target, statistics_of(target, prediction, values, present))
    scores = scorer(weights)
    return {info.name: scores[info.name] for info in metrics_of(target)}
