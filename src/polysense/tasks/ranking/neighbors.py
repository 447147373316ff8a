"""Nearest items by who chose them: the cosine of two items' users (item-based collaborative filtering).

Source: Sarwar, Karypis, Konstan, Riedl, "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001,
section 3.1; shrunk towards 0 where few users chose both (Bell, Koren, "Scalable Collaborative Filtering with Jointly
Derived Neighborhood Interpolation Weights", ICDM 2007).
"""

from __future__ import annotations

import numpy as np

__all__ = ["NUM_NEIGHBORS", "item_neighbors"]

NUM_NEIGHBORS = 100
_SHRINK = 10.0
_AT_ONCE = 512  # items whose cosines are dense at once
_MOST_OF_USER = 1_000  # last items of a user: one robot's 100,000 clicks would make 10^10 pairs


def item_neighbors(
    users: np.ndarray, items: np.ndarray, num_items: int, num_neighbors: int = NUM_NEIGHBORS
) -> tuple[np.ndarray, np.ndarray]:
    """The items that are most like each.

    Args:
        users: int64 [interactions], sorted.
        items: int [interactions], from 1; 0 is none.
        num_items: Of the catalogue.
        num_neighbors: Of each item, at most.

    Returns:
        int64 and float32 [items + 1, neighbors]: who they are, and how like; 0 where there are fewer.
    """
    from scipy import sparse

    width = min(num_neighbors, max(num_items - 1, 1))
    neighbors = np.zeros((num_items + 1, width), dtype=np.int64)
    similarities = np.zeros((num_items + 1, width), dtype=np.float32)
    from_end = np.arange(len(users))
    if len(users):
        ends = np.searchsorted(users, users, side="right")
        from_end = ends - 1 - from_end
    known = (items > 0) & (from_end < _MOST_OF_USER)
    pairs = np.unique(np.stack([users[known], items[known]], axis=1), axis=0)
    if not len(pairs):
        return neighbors, similarities
    ones = np.ones(len(pairs), dtype=np.float32)
    shape = (int(pairs[:, 0].max()) + 1, num_items + 1)
    chosen = sparse.csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=shape)
    counts = np.asarray(chosen.sum(axis=0)).ravel()
    norms = np.sqrt(np.maximum(counts, 1.0))
    for start in range(1, num_items + 1, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, num_items + 1))
        both = (chosen[:, part].T @ chosen).toarray()
        cosines = both / norms[part, None] / norms[None, :] * (both / (both + _SHRINK))
        cosines[np.arange(len(cosines)), np.arange(part.start, part.stop)] = 0.0
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :width]
        own = np.take_along_axis(cosines, order, axis=1)
        neighbors[part], similarities[part] = np.where(own > 0, order, 0), own
    return neighbors, similarities
