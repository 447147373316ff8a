from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.workflows.labeling.strategies import k_center
from polysense.workflows.labeling.strategies.k_center import farthest_first, nearest_squared


def _brute_force(values: np.ndarray, centers: np.ndarray, count: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        known = [*centers, *values[chosen]]
        left = [row for row in range(len(values)) if row not in chosen]
        if not known:
            chosen.append(min(left, key=lambda row: float(((values[row] - values.mean(axis=0)) ** 2).sum())))
            continue
        chosen.append(max(left, key=lambda row: min(float(((values[row] - each) ** 2).sum()) for each in known)))
    return chosen


@settings(max_examples=30)
@given(num=st.integers(1, 25), labeled=st.integers(0, 6), seed=st.integers(0, 999))
def test_it_is_the_greedy_choice_of_a_brute_force(num: int, labeled: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values, centers = generator.normal(size=(num, 3)), generator.normal(size=(labeled, 3))
    count = int(generator.integers(0, num + 1))
    assert farthest_first(values, centers, count).tolist() == _brute_force(values, centers, count)


def test_rows_that_are_all_alike_are_each_chosen_once() -> None:
    assert sorted(farthest_first(np.ones((5, 2)), np.zeros((0, 2)), 5).tolist()) == [0, 1, 2, 3, 4]


def test_blocks_of_centers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    values, centers = generator.normal(size=(20, 4)), generator.normal(size=(9, 4))
    whole = nearest_squared(values, centers)
    np.testing.assert_allclose(whole, ((values[:, None] - centers) ** 2).sum(axis=2).min(axis=1))
    monkeypatch.setattr(k_center, "_BLOCK", 2)
    np.testing.assert_allclose(nearest_squared(values, centers), whole)
