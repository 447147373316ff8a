from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.evaluation.shapley import coalitions


def shapley(names: str, value, **kwargs) -> dict[str, float]:
    plan = coalitions(tuple(names), **kwargs)
    values = np.array([value(subset) for subset in plan.subsets])
    return dict(zip(names, plan.coefficients.mean(axis=0) @ values, strict=True))


def by_definition(names: str, value) -> dict[str, float]:
    """The mean marginal gain over all orders."""
    gains = dict.fromkeys(names, 0.0)
    for order in permutations(names):
        before: frozenset[str] = frozenset()
        for name in order:
            gains[name] += (value(before | {name}) - value(before)) / math.factorial(len(names))
            before |= {name}
    return gains


def random_game(seed: int):
    cache: dict[frozenset[str], float] = {}

    def value(subset: frozenset[str]) -> float:
        key = frozenset(subset)
        if key not in cache:
            cache[key] = float(np.random.default_rng([seed, *sorted(map(ord, key))]).normal())
        return cache[key]

    return value


@given(seed=st.integers(0, 1000), size=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_exact_values_are_the_mean_over_all_orders(seed, size):
    names, value = "abcdef"[:size], random_game(seed)
    assert shapley(names, value) == pytest.approx(by_definition(names, value), abs=1e-9)


@given(seed=st.integers(0, 1000), size=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_the_values_add_up_to_all_less_none(seed, size):
    names, value = "abcdefghijkl"[:size], random_game(seed)
    found = shapley(names, value, seed=seed)
    assert sum(found.values()) == pytest.approx(value(frozenset(names)) - value(frozenset()), abs=1e-9)


def test_xor_splits_equally():
    assert shapley("ab", lambda subset: float(len(subset) == 2)) == pytest.approx({"a": 0.5, "b": 0.5})
    with_dummy = shapley("abc", lambda subset: float({"a", "b"} <= subset))
    assert with_dummy == pytest.approx({"a": 0.5, "b": 0.5, "c": 0.0})


@pytest.mark.parametrize("names", ["abcd", "abcdefgh"])
def test_a_dummy_gets_nothing(names):
    value = random_game(3)
    found = shapley(names, lambda subset: value(frozenset(subset - {"b"})))
    assert found["b"] == pytest.approx(0.0, abs=1e-12)


def test_equal_columns_get_equal_shares():
    found = shapley("abcd", lambda subset: float(bool(subset & {"a", "b"})) + 0.3 * ("c" in subset))
    assert found == pytest.approx({"a": 0.5, "b": 0.5, "c": 0.3, "d": 0.0})


def test_an_additive_game_is_exact_with_any_orders():
    worth = dict(zip("abcdefghij", np.linspace(-1, 2, 10).tolist(), strict=True))
    assert shapley("abcdefghij", lambda subset: sum(worth[name] for name in subset)) == pytest.approx(worth)


def test_sampled_values_come_near_the_exact_ones():
    """8 columns with pairwise interactions; the exact values by hand: own worth and half of each interaction."""
    draws = np.random.default_rng(0)
    own, pair = draws.normal(size=8), np.triu(draws.normal(size=(8, 8)), 1)

    def value(subset: frozenset[str]) -> float:
        chosen = np.array([name in subset for name in "abcdefgh"], dtype=float)
        return float(own @ chosen + chosen @ pair @ chosen)

    exact = own + (pair + pair.T).sum(axis=1) / 2
    # Antithetic pairs cancel pairwise interactions altogether: each comes first in one order of the two.
    assert list(shapley("abcdefgh", value).values()) == pytest.approx(exact.tolist(), abs=1e-9)


@pytest.mark.parametrize("size", range(1, 13))
def test_what_is_always_tried_and_what_it_costs(size):
    names = tuple("abcdefghijkl"[:size])
    plan = coalitions(names)
    everything = frozenset(names)
    assert plan.subsets[:2] == (frozenset(), everything)
    assert len(set(plan.subsets)) == len(plan.subsets)
    for name in names:
        assert {frozenset({name}), everything - {name}} <= set(plan.subsets)
    assert plan.exact == (size <= 6)
    assert len(plan.subsets) == 2**size if plan.exact else len(plan.subsets) <= 128
    assert plan.coefficients.shape[1:] == (size, len(plan.subsets))


def test_the_orders_are_a_function_of_the_seed():
    names = tuple("abcdefghi")
    assert coalitions(names, seed=1).subsets == coalitions(names, seed=1).subsets
    assert coalitions(names, seed=1).subsets != coalitions(names, seed=2).subsets


def test_many_columns_still_get_two_pairs_of_orders():
    plan = coalitions(tuple(f"column {i}" for i in range(60)))
    assert plan.coefficients.shape[0] == 2


def test_no_columns():
    plan = coalitions(())
    assert plan.subsets == (frozenset(),)
    assert plan.coefficients.shape == (1, 0, 1)
