from __future__ import annotations

import math

import numpy as np
import pytest

from polysense.core.metric import higher, lower
from polysense.evaluation.bootstrap import Interval, interval, metric_interval, multiplicities, simultaneous


def drawn(*args, **kwargs) -> np.ndarray:
    return np.concatenate(list(multiplicities(*args, **kwargs)))


def test_a_resample_has_as_many_rows_and_is_a_function_of_the_seed():
    weights = drawn(37, 50, 3)
    assert weights.shape == (50, 37)
    assert (weights.sum(axis=1) == 37).all()
    np.testing.assert_array_equal(weights, drawn(37, 50, 3))
    assert (weights != drawn(37, 50, 4)).any()


@pytest.mark.parametrize("part", [1, 37, 100, 1000])
def test_where_the_parts_are_cut_changes_no_draw(part):
    np.testing.assert_array_equal(drawn(37, 50, 3, part=part), drawn(37, 50, 3))


def test_parts_stay_small():
    assert max(weights.size for weights in multiplicities(1000, 1000, 0)) <= 2**18


def test_a_row_is_drawn_as_often_as_any_other():
    counts = drawn(20, 4000, 0)
    # Binomial(20, 1/20): mean 1, variance 0.95; four standard errors of the mean over 4,000 resamples.
    assert np.abs(counts.mean(axis=0) - 1).max() < 4 * math.sqrt(0.95 / 4000)
    assert counts.var() == pytest.approx(0.95, rel=0.05)


def test_no_rows_give_no_resamples():
    assert list(multiplicities(0, 10, 0)) == []


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    """200 samples of 60 rows: 95% intervals should hold the truth in about 190."""
    draws = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        rows = draws.normal(5.0, 2.0, 60)
        means = np.concatenate([weights @ rows / 60 for weights in multiplicities(60, 300, seed)])
        found = interval(rows.mean(), means, 0.95)
        hits += found.low <= 5.0 <= found.high
    assert 180 <= hits <= 198


def test_the_interval_holds_its_value():
    found = interval(0.1, np.linspace(0.2, 0.4, 100), 0.95)
    assert found.low == found.value == 0.1
    assert found.high < 0.4


def test_without_enough_defined_resamples_there_are_no_bounds():
    half = np.where(np.arange(100) < 50, np.nan, 0.5)
    assert not interval(0.5, half, 0.95).has_bounds
    assert interval(0.5, half[1:], 0.95).has_bounds
    assert not interval(math.nan, np.full(10, 0.5), 0.95).has_bounds
    assert not interval(0.5, np.zeros(0), 0.95).has_bounds


def test_json_has_null_for_what_is_undefined():
    assert Interval(0.5).as_json() == {"value": 0.5, "low": None, "high": None}
    assert Interval(math.nan).as_json() == {"value": None, "low": None, "high": None}
    assert Interval(0.5, 0.4, 0.6).as_json() == {"value": 0.5, "low": 0.4, "high": 0.6}


def test_clusters_are_drawn_whole_and_widen_the_interval() -> None:
    clusters = np.repeat(np.arange(12), 5)
    weights = drawn(60, 400, 0, clusters=clusters)
    assert weights.shape == (400, 60)
    assert (weights.reshape(400, 12, 5) == weights.reshape(400, 12, 5)[:, :, :1]).all()
    assert (weights[:, ::5].sum(axis=1) == 12).all()
    assert np.array_equal(drawn(60, 400, 0, clusters=clusters, part=120), weights)
    rows = np.random.default_rng(0).standard_normal(12)[clusters]  # alike within a cluster
    spread = [(each @ rows / each.sum(axis=1)).std() for each in (weights, drawn(60, 400, 0))]
    assert spread[0] > 1.8 * spread[1]
    assert spread[0] == pytest.approx(rows.std() / np.sqrt(12), rel=0.15)


def test_simultaneous_intervals_all_hold_at_once_and_single_ones_do_not() -> None:
    """Eight means of 60 draws each: all are held in 95% of 400 tables, where single intervals hold all in 67%."""
    draws = np.random.default_rng(0)
    held = {"simultaneous": 0, "single": 0}
    for seed in range(400):
        rows = draws.normal(size=(60, 8))
        resampled = np.concatenate([weights @ rows / 60 for weights in multiplicities(60, 300, seed)])
        values = rows.mean(axis=0)
        together = simultaneous(values, resampled, 0.95)
        single = [interval(float(values[i]), resampled[:, i], 0.95) for i in range(8)]
        held["simultaneous"] += all(each.low <= 0 <= each.high for each in together)
        held["single"] += all(each.low <= 0 <= each.high for each in single)
    assert 0.92 <= held["simultaneous"] / 400 <= 0.98
    assert held["single"] / 400 < 0.75


def test_simultaneous_intervals_of_what_never_moves_and_of_what_is_undefined() -> None:
    resampled = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 0.0, 1.0]
    moving, still, undefined = simultaneous(np.array([0.0, 0.0, np.nan]), resampled, 0.95)
    assert moving.high == pytest.approx(1.96, abs=0.2)
    assert (still.low, still.high) == (0.0, 0.0)
    assert not undefined.has_bounds
    assert not any(each.has_bounds for each in simultaneous(np.zeros(2), np.zeros((0, 2)), 0.95))


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"), [(40, 40, 0.9119, 1.0), (39, 40, 0.8684, 0.9994), (0, 12, 0.0, 0.2646)]
)
def test_a_share_of_rows_has_the_exact_interval(hits: int, total: int, low: float, high: float) -> None:
    right = np.arange(total) < hits
    resampled = np.concatenate([weights @ right / total for weights in multiplicities(total, 200, 0)])
    metric = higher("accuracy", "", is_share=True)
    one = metric_interval(metric, hits / total, resampled, 0.95, total, None)
    assert (one.low, one.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    plain = metric_interval(metric, hits / total, np.zeros(0), 0.95, total, None)
    assert not plain.has_bounds, "no interval was asked for"


def test_what_no_resample_moves_from_its_end_is_as_unsure_as_a_share_of_as_many_groups() -> None:
    still, clusters = np.ones(300), np.repeat(np.arange(10), 4)
    f1, share = higher("f1", ""), higher("accuracy", "", is_share=True)
    assert metric_interval(f1, 1.0, still, 0.95, 40, None).low == pytest.approx(0.9119, abs=1e-4)
    for metric in (f1, share):  # 10 groups, all of them right
        assert metric_interval(metric, 1.0, still, 0.95, 40, clusters).low == pytest.approx(0.6915, abs=1e-4)
    correlation = higher("pearson", "", bounds=(-1.0, 1.0))
    assert metric_interval(correlation, -1.0, -still, 0.95, 40, None).high == pytest.approx(-0.8238, abs=1e-4)
    moving = np.linspace(0.9, 1.0, 300)
    assert metric_interval(f1, 1.0, moving, 0.95, 40, None) == interval(1.0, moving, 0.95)
    assert metric_interval(lower("log_loss", ""), 0.0, np.zeros(300), 0.95, 40, None) == Interval(0.0, 0.0, 0.0)


def test_a_single_group_has_no_interval() -> None:
    assert list(multiplicities(5, 10, 0, clusters=np.zeros(5, dtype=np.int64))) == []
    assert len(np.concatenate(list(multiplicities(5, 10, 0, clusters=np.array([0, 0, 0, 1, 1]))))) == 10
