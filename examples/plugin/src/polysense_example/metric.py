"""Top-2 accuracy: whether the true class is among the two likeliest ones.

A metric states its name, direction and range once; its value is a function of the task's row statistics and of
bootstrap weights, so it comes with an interval like the task's own.
"""

from __future__ import annotations

import numpy as np

from polysense.core.metric import ExtraMetric, Metric, Statistics
from polysense.core.schema import Target

__all__ = ["Top2Accuracy"]


class Top2Accuracy(ExtraMetric):
    """The share of rows whose class is among the two likeliest."""

    task = "classification"

    def describe(self, target: Target) -> Metric | None:
        """Of two classes it would always be 1, so there is none."""
        if len(target.classes) < 3:
            return None
        return Metric(
            name="top_2_accuracy",
            higher_is_better=True,
            bounds=(0.0, 1.0),
            description="Share of the rows whose class is among the two likeliest.",
            undefined_when="the predictions carry no probabilities",
        )

    def score(self, target: Target, statistics: Statistics, weights: np.ndarray) -> np.ndarray:
        if "probabilities" not in statistics:
            return np.full(len(weights), np.nan)
        likeliest = np.argsort(-statistics["probabilities"], axis=1, kind="stable")[:, :2]
        correct = (likeliest == statistics["truth"][:, None]).any(axis=1)
        share: np.ndarray = weights @ correct / weights.sum(axis=1)
        return share
