"""The start, before there are labels: the most typical row of each cluster.

With few labels what is typical beats what is uncertain, because a learner that knows nothing is unsure of outliers
first (Hacohen et al., "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", 2022, TypiClust,
section 3.2). k-means makes as many clusters as there will be labeled rows; the largest ones without a label come first,
and of each the row whose nearest neighbors in its cluster are nearest. Rows are compared by direction, as embeddings
are.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from polysense.config.limits import PositiveInt
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.base import StrategyConfig, thinned

__all__ = ["TypicalConfig", "typicality"]

_MOST_CLUSTERS = 500
_NEIGHBORS = 20
_POOL = 5_000
_ITERATIONS = 10
_MOST_COMPARED = 1_000  # rows of a cluster among which neighbors are looked for


@dataclass(frozen=True, kw_only=True)
class TypicalConfig(StrategyConfig):
    """Chooses the most typical row of each cluster without a label (TypiClust): the start, when nothing is labeled.

    Attributes:
        pool: Rows that are clustered, a random sample where there are more.
    """

    type: Literal["typical"] = "typical"
    pool: PositiveInt = _POOL

    def pick(
        self, learner: Learner, rows: Int[np.ndarray, " rows"], count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, " chosen"]:
        rows = thinned(rows, count, self.pool)
        labeled = np.flatnonzero(learner.is_labeled)
        if len(labeled) > self.pool:
            labeled = generator.permutation(labeled)[: self.pool]
        values = _directions(learner.features.values[np.concatenate([rows, labeled])])
        num_clusters = min(len(labeled) + count, _MOST_CLUSTERS, len(values))
        clusters = _clusters(values, num_clusters, generator)
        own, covered = clusters[: len(rows)], np.bincount(clusters[len(rows) :], minlength=num_clusters)
        ranked = {}
        for cluster in range(num_clusters):
            members = np.flatnonzero(own == cluster)
            if len(members):
                ranked[cluster] = members[np.argsort(-typicality(values[members]), kind="stable")]
        chosen, taken = list[int](), dict.fromkeys(ranked, 0)
        while len(chosen) < count:
            left = [cluster for cluster in ranked if taken[cluster] < len(ranked[cluster])]
            # Those with the fewest labels first, of these the largest; each once before any comes again.
            order = sorted(left, key=lambda each: (covered[each] + taken[each], -len(ranked[each]), each))
            least = covered[order[0]] + taken[order[0]]
            for cluster in order:
                if covered[cluster] + taken[cluster] > least or len(chosen) == count:
                    break
                chosen.append(int(ranked[cluster][taken[cluster]]))
                taken[cluster] += 1
        return rows[np.array(chosen, dtype=np.int64)]


def typicality(values: Float[np.ndarray, "rows size"]) -> Float[np.ndarray, " rows"]:
    """One over the mean distance to the nearest 20 of a cluster's rows, or to all where it has fewer.

    Args:
        values: Of one cluster's rows; of very many the neighbors are looked for among the first thousand, which are in
            random order.
    """
    compared = values[:_MOST_COMPARED]
    k = min(_NEIGHBORS, len(compared) - 1)
    if k < 1:
        return np.ones(len(values))
    squares = (compared**2).sum(axis=1)
    distances = np.sqrt(np.maximum((values**2).sum(axis=1)[:, None] + squares - 2.0 * values @ compared.T, 0.0))
    distances[np.arange(len(compared)), np.arange(len(compared))] = np.inf  # itself
    nearest = np.partition(distances, k - 1, axis=1)[:, :k].astype(np.float64).mean(axis=1)
    result: np.ndarray = 1.0 / np.maximum(nearest, 1e-12)
    return result


def _directions(values: Float[np.ndarray, "rows size"]) -> Float[np.ndarray, "rows size"]:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _clusters(values: Float[np.ndarray, "rows size"], num: int, generator: np.random.Generator) -> np.ndarray:
    """The cluster of each row, by k-means from k-means++ seeds."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if num >= len(values):
        return np.arange(len(values))
    seed = int(generator.integers(2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters are left where features agree: no error
        fitted = KMeans(num, n_init=1, max_iter=_ITERATIONS, random_state=seed).fit(values)
    return np.asarray(fitted.labels_, dtype=np.int64)
