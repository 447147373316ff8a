"""Student's t and Holm's correction are scipy's and statsmodels' numbers, and degenerate cases claim nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polysense.evaluation.student import holm, mean_interval, t_coverage, t_quantile, t_test


@given(st.floats(0, 50), st.integers(1, 200))
def test_coverage_is_scipys(t: float, freedom: int) -> None:
    assert t_coverage(t, freedom) == pytest.approx(1 - 2 * stats.t.sf(t, freedom), abs=2e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30])
@pytest.mark.parametrize("coverage", [0.5, 0.95, 0.999])
def test_the_quantile_is_scipys(coverage: float, freedom: int) -> None:
    assert t_quantile(coverage, freedom) == pytest.approx(stats.t.ppf((1 + coverage) / 2, freedom), rel=1e-9)


def test_the_interval_and_the_test_are_scipys() -> None:
    draws = np.random.default_rng(0)
    for size in (2, 3, 5, 10):
        values = draws.normal(0.3, 1.0, size)
        found = mean_interval(values.tolist(), 0.9)
        expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
        assert t_test(values.tolist()) == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)
        # Both say the same: the interval holds 0 exactly where p is above the level.
        assert (found.low <= 0 <= found.high) == (t_test(values.tolist()) >= 0.1)


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
