from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.evaluation.part_attribution import Removals, area, attribute, draw_orders


def numbers_of(value: Callable[[frozenset[int]], float]) -> Callable[[Removals], np.ndarray]:
    return lambda removals: np.array([value(removed) for removed in removals])


@given(st.integers(2, 7), st.integers(1, 4), st.integers(0, 50))
def test_shares_sum_to_what_is_lost_with_all_parts(num_parts: int, pairs: int, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=2**num_parts)

    def value(removed: frozenset[int]) -> float:
        return float(table[sum(2**part for part in removed)])

    shares, test = attribute(num_parts, numbers_of(value), orders=draw_orders(num_parts, pairs, seed))
    assert shares.sum() == pytest.approx(table[0] - table[-1])
    assert test is not None
    assert np.isfinite([test.deletion, test.insertion, test.random]).all()


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=8))
def test_a_sum_is_divided_into_its_terms(terms: list[float]) -> None:
    def value(removed: frozenset[int]) -> float:
        return sum(term for part, term in enumerate(terms) if part not in removed)

    for orders in (None, draw_orders(len(terms), 2, 0)):
        shares, test = attribute(len(terms), numbers_of(value), orders=orders)
        np.testing.assert_allclose(shares, terms, atol=1e-9)
        assert (test is None) == (orders is None)
    assert test is not None
    assert test.deletion <= test.random + 1e-9
    assert test.insertion >= test.random - 1e-9


def test_two_parts_that_are_needed_together_share_alike_and_a_dummy_gets_nothing() -> None:
    def value(removed: frozenset[int]) -> float:
        return float(not removed & {0, 1})

    shares, test = attribute(3, numbers_of(value), orders=draw_orders(3, 6, 0))
    np.testing.assert_allclose(shares, [0.5, 0.5, 0.0])
    assert test is not None
    assert test.holds


def test_of_two_parts_that_each_suffice_occlusion_sees_neither() -> None:
    def value(removed: frozenset[int]) -> float:
        return float(not removed >= {0, 1})

    np.testing.assert_array_equal(attribute(3, numbers_of(value), orders=None)[0], [0.0, 0.0, 0.0])
    np.testing.assert_allclose(attribute(3, numbers_of(value), orders=draw_orders(3, 6, 0))[0], [0.5, 0.5, 0.0])


def test_a_number_that_never_moves_has_a_map_that_does_not_hold() -> None:
    shares, test = attribute(4, numbers_of(lambda removed: 0.3), orders=draw_orders(4, 2, 0))
    np.testing.assert_array_equal(shares, np.zeros(4))
    assert test is not None
    assert not test.holds


def test_each_set_of_parts_is_asked_for_once() -> None:
    asked: list[frozenset[int]] = []

    def numbers(removals: Removals) -> np.ndarray:
        asked.extend(removals)
        return np.array([float(len(removed)) for removed in removals])

    attribute(5, numbers, orders=draw_orders(5, 3, 1))
    assert len(asked) == len(set(asked))


def test_the_area_under_a_curve_is_its_mean_height() -> None:
    assert area(np.array([1.0, 0.5, 0.0])) == 0.5
    assert area(np.array([1.0, 0.0, 0.0])) == 0.25
    assert area(np.array([0.7])) == 0.7
