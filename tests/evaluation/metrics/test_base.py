from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.evaluation.metrics.base import Grouping, Ranking, Rankings, ratio


def pairs_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Straight from the definition: pairs ranked right, ties half."""
    up, down = scores[positive][:, None], scores[~positive][None]
    return float(((up > down) + 0.5 * (up == down)).mean()) if up.size and down.size else np.nan


def steps_average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Straight from the definition: the sum over thresholds of the gain in recall times the precision."""
    if not positive.any():
        return np.nan
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        above = scores >= threshold
        recall = positive[above].sum() / positive.sum()
        area, before = area + (recall - before) * positive[above].mean(), recall
    return area


@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25),
)
@settings(max_examples=150, deadline=None)
def test_a_ranking_of_weights_is_the_ranking_of_repeated_rows(rows):
    scores = np.array([row[0] for row in rows], dtype=np.float32)
    positive = np.array([row[1] for row in rows])
    times = np.array([row[2] for row in rows])
    auroc, average_precision = Ranking(scores, positive)(np.stack([times, np.ones_like(times)]).astype(float))
    for i, counts in enumerate((times, np.ones_like(times))):
        repeated, labels = np.repeat(scores, counts), np.repeat(positive, counts)
        np.testing.assert_allclose(auroc[i], pairs_auroc(repeated, labels), atol=1e-12)
        np.testing.assert_allclose(average_precision[i], steps_average_precision(repeated, labels), atol=1e-12)


def test_rankings_built_when_needed_equal_those_kept(monkeypatch):
    draws = np.random.default_rng(0)
    scores, positive, weights = draws.random((30, 4)), draws.random((30, 4)) < 0.3, draws.integers(0, 3, (5, 30)) * 1.0
    retained = Rankings(scores, positive)(weights)
    monkeypatch.setattr("polysense.evaluation.metrics.base.MAX_RANKED", 0)
    for found, expected in zip(Rankings(scores, positive)(weights), retained, strict=True):
        np.testing.assert_array_equal(found, expected)


@given(groups=st.lists(st.integers(0, 6), max_size=30))
@settings(deadline=None)
def test_grouping_sums_each_group(groups):
    ids = np.array(groups, dtype=np.int64)
    weights = np.random.default_rng(len(groups)).integers(0, 4, (3, len(groups))).astype(float)
    found = Grouping(ids, 7)(weights)
    for group in range(7):
        assert found[:, group] == pytest.approx(weights[:, ids == group].sum(axis=1))
    retained = np.flatnonzero(ids % 2 == 0)
    np.testing.assert_allclose(Grouping(ids, 7, retained)(weights)[:, 2], weights[:, ids == 2].sum(axis=1))
    np.testing.assert_allclose(Grouping(ids, 7, retained)(weights)[:, 3], 0)


def test_ratio_broadcasts_and_does_not_warn():
    found = ratio(np.array([[1.0], [2.0]]), np.array([0.0, 4.0]))
    np.testing.assert_array_equal(found, [[np.nan, 0.25], [np.nan, 0.5]])
