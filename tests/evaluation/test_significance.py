"""Student's t and Holm's correction are the textbooks', and degenerate cases claim nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.evaluation.significance import holm, mean_interval, t_test


def test_five_seeds_are_four_degrees_of_freedom() -> None:
    # The textbook's 2.776 standard errors on each side, and t = 3 in the table of two-sided p values.
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    error = values.std(ddof=1) / math.sqrt(5)
    interval = mean_interval(values.tolist())
    assert (interval.low / error, interval.high / error) == pytest.approx((-2.776, 2.776), abs=1e-3)
    assert t_test((values + 3 * error).tolist()) == pytest.approx(0.0399, abs=1e-4)


def test_the_interval_and_the_test_say_the_same() -> None:
    """The interval holds 0 exactly where p is above the level."""
    draws = np.random.default_rng(0)
    sides = set()
    for size in (2, 3, 5, 10, 40):
        values = draws.normal(0.3, 1.0, size).tolist()
        interval = mean_interval(values, 0.9)
        sides.add(t_test(values) >= 0.1)
        assert (interval.low <= 0 <= interval.high) == (t_test(values) >= 0.1)
    assert sides == {True, False}


def test_nine_of_ten_intervals_hold_the_truth() -> None:
    draws = np.random.default_rng(1)
    found = [mean_interval(draws.normal(2.0, 3.0, 5).tolist(), 0.9) for _ in range(400)]
    assert np.mean([one.low <= 2.0 <= one.high for one in found]) == pytest.approx(0.9, abs=0.03)


def test_what_does_not_vary_gives_no_interval() -> None:
    assert not mean_interval([0.5]).has_bounds
    assert not mean_interval([0.1 + 0.2, 0.3, 0.3]).has_bounds  # equal but for rounding
    assert math.isnan(mean_interval([]).value)
    assert math.isnan(mean_interval([0.5, math.nan]).value)
    assert math.isnan(t_test([0.2]))
    assert math.isnan(t_test([0.2, 0.2, 0.2]))
    assert t_test([0.0, 0.0]) == 1.0


def test_holm_is_the_textbooks() -> None:
    # Holm 1979: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    found = holm([0.02, math.nan])  # what is no test does not count as one
    assert found[0] == 0.02
    assert math.isnan(found[1])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    found = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, found, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0).all()
