"""Rows that the learner is least sure of, by entropy or by margin.

Both look at each row alone, so a batch of them may be much alike (`badge` sees to that). Entropy counts all classes;
with many of them the margin between the best two is the better sign, because the tail of small probabilities says
little (Settles, "Active Learning Literature Survey", 2009, section 3.1). Of several yes-or-no labels the entropies are
summed, and the margin is that of the least sure one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from polysense.nn.estimators.base import ScoreKind
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.base import StrategyConfig, lowest_first

__all__ = ["EntropyConfig", "MarginConfig", "entropies", "margins"]

_TIES = 12  # decimals: what differs by rounding alone is a tie, which chance breaks


def entropies(probabilities: Float[np.ndarray, "rows outputs"], kind: ScoreKind) -> Float[np.ndarray, " rows"]:
    """The entropy of each row's label in nats, -sum of p log p; of several yes-or-no labels their sum.

    Args:
        probabilities: As `Learner.probabilities` gives them.
        kind: "choice" or "labels".
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    if kind == "labels":
        shares = np.stack([shares, 1.0 - shares], axis=2).reshape(len(shares), -1)
    result: np.ndarray = -(shares * np.log(np.maximum(shares, np.finfo(np.float64).tiny))).sum(axis=1)
    return result


def margins(probabilities: Float[np.ndarray, "rows outputs"], kind: ScoreKind) -> Float[np.ndarray, " rows"]:
    """How much more probable the best answer is than the second one; of several labels that of the least sure one.

    Args:
        probabilities: As `Learner.probabilities` gives them.
        kind: "choice" or "labels".
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    if kind == "labels":
        result: np.ndarray = np.abs(2.0 * shares - 1.0).min(axis=1)
        return result
    if shares.shape[1] < 2:
        return np.ones(len(shares))
    best = np.partition(shares, shares.shape[1] - 2, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])


@dataclass(frozen=True, kw_only=True)
class EntropyConfig(StrategyConfig):
    """Chooses the rows whose predicted classes have the highest entropy."""

    type: Literal["entropy"] = "entropy"

    needs_probabilities: ClassVar[bool] = True

    def pick(
        self, learner: Learner, rows: Int[np.ndarray, " rows"], count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, " chosen"]:
        values = entropies(learner.probabilities()[rows], learner.kind)
        chosen: np.ndarray = rows[lowest_first(-values.round(_TIES), count)]
        return chosen


@dataclass(frozen=True, kw_only=True)
class MarginConfig(StrategyConfig):
    """Chooses the rows whose best two classes are nearly as probable as each other."""

    type: Literal["margin"] = "margin"

    needs_probabilities: ClassVar[bool] = True

    def pick(
        self, learner: Learner, rows: Int[np.ndarray, " rows"], count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, " chosen"]:
        values = margins(learner.probabilities()[rows], learner.kind)
        chosen: np.ndarray = rows[lowest_first(values.round(_TIES), count)]
        return chosen
