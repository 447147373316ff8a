"""BADGE: rows that would move the last layer far, and in different directions (Ash et al., "Deep Batch Active Learning
by Diverse, Uncertain Gradient Lower Bounds", 2020, section 3, algorithm 1).

A row's embedding is the gradient of the last layer's loss as if its most probable answer were its label: (p - label)
times the features and the constant 1 of the bias. It is long where the learner is unsure, and points where the row
lies. The k-means++ seeding (Arthur and Vassilvitskii, 2007) draws rows in proportion to their squared distance to the
nearest one drawn; the first one by its squared length. The embedding is an outer product, so a distance takes the
product of its two factors' products, and the embeddings, of classes times features numbers each, are never made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from polysense.config.limits import PositiveInt
from polysense.nn.estimators.base import ScoreKind
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.base import POOL, StrategyConfig, thinned

__all__ = ["BadgeConfig", "gradient_factors", "k_means_seeds"]


@dataclass(frozen=True, kw_only=True)
class BadgeConfig(StrategyConfig):
    """Chooses rows that are uncertain and unlike each other: BADGE, k-means++ over gradient embeddings.

    Attributes:
        pool: Unlabeled rows that it looks at, a random sample where there are more.
    """

    type: Literal["badge"] = "badge"
    pool: PositiveInt = POOL

    needs_probabilities: ClassVar[bool] = True

    def pick(
        self, learner: Learner, rows: Int[np.ndarray, " rows"], count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, " chosen"]:
        rows = thinned(rows, count, self.pool)
        errors, inputs = gradient_factors(learner.probabilities()[rows], learner.features.values[rows], learner.kind)
        chosen: np.ndarray = rows[k_means_seeds(errors, inputs, count, generator)]
        return chosen


def gradient_factors(
    probabilities: Float[np.ndarray, "rows outputs"], features: Float[np.ndarray, "rows size"], kind: ScoreKind
) -> tuple[Float[np.ndarray, "rows outputs"], Float[np.ndarray, "rows size_1"]]:
    """The two factors of each row's gradient embedding, whose outer product it is, [outputs, size + 1].

    Args:
        probabilities: As `Learner.probabilities` gives them.
        features: What the last layer reads.
        kind: "choice" or "labels".

    Returns:
        What the loss changes by with each logit, and the features with a 1 for the bias.
    """
    errors = np.array(probabilities, dtype=np.float64)
    if kind == "labels":
        errors -= errors > 0.5
    else:
        errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1.0
    inputs = np.concatenate([features, np.ones((len(features), 1), dtype=features.dtype)], axis=1)
    return errors, inputs


def k_means_seeds(
    errors: Float[np.ndarray, "rows outputs"],
    inputs: Float[np.ndarray, "rows size"],
    count: int,
    generator: np.random.Generator,
) -> Int[np.ndarray, " chosen"]:
    """Positions of rows by the k-means++ seeding over the outer products of two factors.

    Args:
        errors: The first factor.
        inputs: The second one.
        count: At most as many as there are rows.
        generator: Of what is drawn.
    """
    own = (errors**2).sum(axis=1) * np.einsum("ri,ri->r", inputs, inputs, dtype=np.float64)
    nearest, is_left = own.copy(), np.ones(len(own), dtype=bool)
    chosen = np.empty(count, dtype=np.int64)
    for k in range(count):
        weights = np.where(is_left, np.maximum(nearest, 0.0), 0.0)
        total = weights.sum()
        if not np.isfinite(total) or total <= 1e-12 * max(float(own.max()), 1e-300):
            weights, total = is_left.astype(np.float64), float(is_left.sum())  # all are where one is: by chance
        row = chosen[k] = int(generator.choice(len(own), p=weights / total))
        is_left[row] = False
        distance = own + own[row] - 2.0 * (errors @ errors[row]) * (inputs @ inputs[row])
        nearest = distance if k == 0 else np.minimum(nearest, distance)
    return chosen
