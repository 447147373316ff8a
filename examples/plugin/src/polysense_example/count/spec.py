"""The count task: how often something happens, judged by Poisson's deviance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, lower, marked
from polysense.core.task_spec import Answer, Contribution, Measure
from polysense.core.value_task import ValueTaskSpec
from polysense.evaluation.metrics.base import MeanScorer
from polysense_example.count.record import CountTarget

__all__ = ["CountSpec"]


class _Contribution(Contribution[CountTarget]):
    """The negative deviance: higher is better."""

    measures = (Measure("deviance", "deviance"),)
    is_prior_without_columns = True

    def row_values(self, target: CountTarget, statistics: Statistics) -> np.ndarray:
        return -_deviance(statistics)[:, None]


class CountSpec(ValueTaskSpec[CountTarget]):
    """Counts. Its row statistics: `truth` and `predicted`, the expected count, float [rows] each."""

    name, record, rank = "count", CountTarget, 100
    answer = Answer.NUMBER
    contribution = _Contribution()

    def nothing(self, target: CountTarget, num_rows: int) -> np.ndarray:
        return np.zeros(num_rows, dtype=np.float32)

    def metrics(self, target: CountTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        return marked(
            [
                lower("deviance", "Mean Poisson deviance of the expected count; 0 = every count is expected exactly."),
                lower("mae", "Mean absolute difference of the expected count and the count."),
            ],
            headline="deviance",
            selection="deviance",
            finer="mae",
            reported=("deviance", "mae"),
        )

    def scorer(self, target: CountTarget, statistics: Statistics) -> Scorer:
        rows = statistics["present"]
        error = np.abs(statistics["predicted"] - statistics["truth"])
        return MeanScorer({"deviance": _deviance(statistics)[rows], "mae": error[rows]})

    def baselines(self, target: CountTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """The training mean."""
        return {
            "mean baseline": lambda statistics: {
                **statistics,
                "predicted": np.full(len(statistics["present"]), target.mean, dtype=np.float32),
            }
        }

    def average(self, target: CountTarget, experts: Sequence[Statistics], weights: np.ndarray) -> Statistics:
        """The weighted mean of the expected counts."""
        stacked = np.stack([expert["predicted"] for expert in experts], axis=1)
        return {**experts[0], "predicted": (weights * stacked).sum(axis=1).astype(np.float32)}


def _deviance(statistics: Statistics) -> np.ndarray:
    """2 (y log(y / rate) - y + rate) of each row, where 0 log 0 is 0; float64 [rows]."""
    truth, rate = statistics["truth"].astype(np.float64), statistics["predicted"].astype(np.float64)
    result: np.ndarray = 2 * (truth * np.log(np.where(truth > 0, truth, rate) / rate) - truth + rate)
    return result
