"""SMOTE: a made-up row lies between a row and one of its nearest neighbors of the same class.

x = a + u (b - a), u uniform in [0, 1], b one of the k nearest rows of a's class (Chawla et al., "SMOTE: Synthetic
Minority Over-sampling Technique", JAIR 2002, section 4.2). Vectors are those of a frozen encoder, between which lines
mean more than between pixels. It fills a class's hull and never leaves it: what no row shows, it can't make up.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from polysense.core.random import generator

__all__ = ["smote"]

_NEIGHBORS = 5  # as in the paper


def smote(
    features: Float[np.ndarray, "rows size"],
    labels: Int[np.ndarray, " rows"],
    requested: Int[np.ndarray, " synthetic"],
    *,
    seed: int,
    neighbors: int = _NEIGHBORS,
) -> Float[np.ndarray, "synthetic size"]:
    """Makes up rows.

    Args:
        features: Of real rows.
        labels: Their class ids.
        requested: The class of each row to make up; each has a real row.
        seed: Of all draws.
        neighbors: Of how many nearest rows one is drawn; of a class of fewer rows all others. The only row of a class
            is copied.
    """
    from sklearn.neighbors import NearestNeighbors

    result = np.empty((len(requested), features.shape[1]))
    for name in np.unique(requested).tolist():
        own = features[labels == name].astype(np.float64)
        assert len(own), f"class {name} has no row to make up others from"
        places = np.flatnonzero(requested == name)
        draws = generator(seed, "smote", name)
        # Each row begins as many lines as any other, to within one.
        first = np.concatenate([draws.permutation(len(own)) for _ in range(-(-len(places) // len(own)))])[: len(places)]
        k = min(neighbors, len(own) - 1)
        if k == 0:
            result[places] = own[first]
            continue
        index = NearestNeighbors(n_neighbors=k).fit(own)
        nearest = index.kneighbors(return_distance=False)  # of no row itself
        second = nearest[first, draws.integers(k, size=len(places))]
        share = draws.random((len(places), 1))
        result[places] = own[first] + share * (own[second] - own[first])
    return result
