"""Scores of changed rows: no interval of a share is narrower than what so many rows can tell."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.core.binomial import binomial_interval
from polysense.core.task_spec import Measure
from polysense.evaluation.variant_scores import VariantScores

ACCURACY, LOG_LOSS = Measure("accuracy", "accuracy", "pp"), Measure("log_loss", "log loss", "nats")
ROWS = 126


def scores(right: np.ndarray, loss: np.ndarray, clusters: np.ndarray | None = None) -> VariantScores[str]:
    """Of rows as they are, and of a change that moves no decision but adds to the log loss."""
    measured = np.stack([np.stack([right, right], axis=1), np.stack([loss, loss - 0.1], axis=1)])
    return VariantScores.of_rows([ACCURACY, LOG_LOSS], ["whole", "changed"], measured, 200, 0, clusters)


@pytest.mark.parametrize("num_groups", [None, 30])
def test_a_change_that_moves_no_decision_is_as_uncertain_as_the_rows_are_few(num_groups: int | None) -> None:
    draws = np.random.default_rng(0)
    right = (draws.random(ROWS) < 0.8).astype(float)
    clusters = None if num_groups is None else np.arange(ROWS) % num_groups
    both = scores(right, draws.normal(size=ROWS), clusters)
    difference = both.unit("whole") - both.unit("changed")
    reach = binomial_interval(0, num_groups or ROWS, 0.95)[1]
    for own in (both.of(difference, 0.95), *both.together([difference], 0.95)):
        assert (own[ACCURACY].value, own[ACCURACY].low, own[ACCURACY].high) == (0.0, -reach, reach)
        assert own[LOG_LOSS].low == pytest.approx(own[LOG_LOSS].high) == pytest.approx(0.1)
    (first,) = both.first_together([difference], 0.95)
    assert first.high == reach


def test_a_score_ends_at_one_and_what_moves_nothing_at_all_is_known() -> None:
    both = scores(np.ones(ROWS), np.zeros(ROWS))
    own = both.of(both.unit("whole"), 0.95)[ACCURACY]
    assert (own.value, own.high) == (1.0, 1.0)
    assert own.low == pytest.approx(1 - binomial_interval(0, ROWS, 0.95)[1])
    same = VariantScores.of_rows([ACCURACY, LOG_LOSS], ["whole", "changed"], np.ones((2, ROWS, 2)), 50, 0)
    known = same.of(same.unit("whole") - same.unit("changed"), 0.95)[ACCURACY]
    assert known.low == known.high == 0.0
