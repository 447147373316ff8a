"""k-center: rows that are far from every labeled one, so that none is far from all (a core-set).

The greedy solution, farthest first, is at most twice as far as the best one (Sener and Savarese, "Active Learning for
Convolutional Neural Networks: A Core-Set Approach", 2018, algorithm 1). It needs one distance per row and center, in
blocks; no matrix of rows by rows is made. It is drawn to outliers, which is what it is for, and what may make it worse
than chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from polysense.config.limits import PositiveInt
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.base import POOL, StrategyConfig, thinned

__all__ = ["KCenterConfig", "farthest_first", "nearest_squared"]

_BLOCK = 1_024  # centers at once


@dataclass(frozen=True, kw_only=True)
class KCenterConfig(StrategyConfig):
    """Chooses rows far from all labeled ones (core-set, greedy k-center).

    Attributes:
        pool: Unlabeled rows that it looks at, a random sample where there are more.
    """

    type: Literal["k_center"] = "k_center"
    pool: PositiveInt = POOL

    def pick(
        self, learner: Learner, rows: Int[np.ndarray, " rows"], count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, " chosen"]:
        rows = thinned(rows, count, self.pool)
        values = learner.features.values
        chosen: np.ndarray = rows[farthest_first(values[rows], values[learner.is_labeled], count)]
        return chosen


def nearest_squared(
    values: Float[np.ndarray, "rows size"], centers: Float[np.ndarray, "centers size"]
) -> Float[np.ndarray, " rows"]:
    """Each row's squared distance to its nearest center; infinite where there is none."""
    result = np.full(len(values), np.inf)
    own = np.einsum("ri,ri->r", values, values, dtype=np.float64)
    for start in range(0, len(centers), _BLOCK):
        block = centers[start : start + _BLOCK]
        squares = np.einsum("ri,ri->r", block, block, dtype=np.float64)
        products = values @ block.T
        np.minimum(result, own + (squares - 2.0 * products).min(axis=1), out=result)
    return np.asarray(np.maximum(result, 0.0))


def farthest_first(
    values: Float[np.ndarray, "rows size"], centers: Float[np.ndarray, "centers size"], count: int
) -> Int[np.ndarray, " chosen"]:
    """Positions of rows, each the farthest from the centers and from those before it; of equals the first.

    Args:
        values: Of the rows.
        centers: Of what is labeled; where there is none, the row nearest to the mean is the first.
        count: At most as many as there are rows.
    """
    chosen = np.empty(count, dtype=np.int64)
    nearest = nearest_squared(values, centers)
    start = 0
    if not len(centers) and count:
        difference = values - values.mean(axis=0)
        chosen[0], start = np.einsum("ri,ri->r", difference, difference).argmin(), 1
        nearest = _squared(values, values[chosen[0]])
        nearest[chosen[0]] = -1.0
    for k in range(start, count):
        chosen[k] = nearest.argmax()
        np.minimum(nearest, _squared(values, values[chosen[k]]), out=nearest)
        nearest[chosen[k]] = -1.0  # never twice, though others may be as near
    return chosen


def _squared(values: Float[np.ndarray, "rows size"], center: Float[np.ndarray, " size"]) -> Float[np.ndarray, " rows"]:
    difference = values - center
    return np.asarray(np.einsum("ri,ri->r", difference, difference), dtype=np.float64)
