"""Neighbors of items against the cosine's definition."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.tasks.ranking.neighbors import item_neighbors


def test_neighbors_are_those_of_the_shrunk_cosine() -> None:
    draws = np.random.default_rng(0)
    users, items = np.sort(draws.integers(1, 30, 300)), draws.integers(0, 13, 300)
    chosen = np.zeros((30, 13))
    chosen[users[items > 0], items[items > 0]] = 1
    neighbors, similarities = item_neighbors(users, items, 12, num_neighbors=11)
    assert neighbors.shape == similarities.shape == (13, 11)
    for item in range(1, 13):
        own = {}
        for other in range(1, 13):
            both = float(chosen[:, item] @ chosen[:, other])
            if other != item and both:
                sizes = chosen[:, item].sum() * chosen[:, other].sum()
                own[other] = both / np.sqrt(sizes) * both / (both + 10)
        listed = {n: s for n, s in zip(neighbors[item].tolist(), similarities[item].tolist(), strict=True) if n}
        assert listed == pytest.approx(own, rel=1e-5)
        assert (np.diff(similarities[item]) <= 1e-7).all()
    assert not neighbors[0].any(), "0 is no item"


def test_nobody_who_chose_anything_has_no_neighbors() -> None:
    neighbors, similarities = item_neighbors(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 3)
    assert neighbors.tolist() == [[0, 0]] * 4
    assert not similarities.any()
