"""An estimator's scores as a task's row statistics, so that they are judged by the same metrics as any prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from polysense.core.batch import Truth
from polysense.core.metric import Statistics
from polysense.core.prediction import as_arrays, with_prior
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.task_spec import BatchRows
from polysense.evaluation.evaluator import score
from polysense.evaluation.target_metrics import headline_metric
from polysense.nn.ensemble_head import EnsembleHeadConfig
from polysense.nn.head import Head, HeadConfig

__all__ = ["OutOfFoldScore", "out_of_fold_score", "plain_head", "score_statistics", "takes_scores"]


@dataclass(frozen=True, kw_only=True)
class OutOfFoldScore:
    """How good an estimator is on training rows that it was not fitted on.

    Attributes:
        metric: The target's headline metric, by name.
        value: NaN where it has none.
        num_rows: Rows that count.
    """

    metric: str
    value: float
    num_rows: int

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return f"no {self.metric.replace('_', ' ')} out of fold"
        return f"{self.metric.replace('_', ' ')} {self.value:.3f} out of fold"


def takes_scores(config: HeadConfig) -> bool:
    """Whether estimators can predict the target of a head."""
    builds = config.head.builds if isinstance(config, EnsembleHeadConfig) else config.builds
    return isinstance(builds, type) and issubclass(builds, Head) and builds.score_kind is not None


def plain_head(config: HeadConfig, target: Target) -> Head[object] | None:
    """The head that turns estimators' scores into predictions, uncalibrated; None where a target's can't.

    Args:
        config: The target's.
        target: Fitted.
    """
    if not takes_scores(config):
        return None
    inner = config.head if isinstance(config, EnsembleHeadConfig) else config
    with torch.random.fork_rng(devices=[]):  # nothing reads its weights, and nothing else may notice them
        head = inner.build(target, 1)
    assert isinstance(head, Head)
    return head.eval()


@torch.no_grad()
def score_statistics(
    head: Head[object],
    scores: Float[np.ndarray, "rows outputs"],
    truth: Truth,
    rows: Int[np.ndarray, " rows"] | None = None,
) -> Statistics:
    """What the scores' predictions leave behind.

    Args:
        head: `plain_head`'s.
        scores: NaN in rows that have nothing which the estimator reads: there the training prior is predicted.
        truth: Of the rows.
        rows: Their numbers.
    """
    tensor, target = torch.from_numpy(scores), head.target
    empty = ~tensor.isfinite().all(dim=1)
    arrays = head.arrays(head.output_of(tensor.nan_to_num(0.0).float()))
    numbers = np.arange(len(scores)) if rows is None else rows
    return task(target.task).row_statistics(
        target,
        [as_arrays(with_prior(arrays, target, empty))],
        as_arrays(truth.tensors()),
        BatchRows(numbers=numbers),
    )


def out_of_fold_score(head: Head[object], scores: Float[np.ndarray, "rows outputs"], truth: Truth) -> OutOfFoldScore:
    """The headline metric over the rows that have scores.

    Args:
        head: `plain_head`'s.
        scores: NaN in rows that don't count.
        truth: Of the rows.
    """
    known, metric = np.flatnonzero(np.isfinite(scores).all(axis=1)), headline_metric(head.target).name
    if not len(known):
        return OutOfFoldScore(metric=metric, value=float("nan"), num_rows=0)
    statistics = score_statistics(head, scores[known], truth.rows(torch.from_numpy(known)))
    name = head.target.name
    evaluation = score((head.target,), known, {name: statistics}, bootstrap=0)
    return OutOfFoldScore(metric=metric, value=evaluation.value(name, metric), num_rows=evaluation.num_counted(name))
