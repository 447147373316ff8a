from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.errors import ConfigError
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.row_features import RowFeatures
from polysense.workflows.labeling.selection import held_out_rows, next_rows
from polysense.workflows.labeling.strategies.base import strategy_named

FEATURES = RowFeatures(np.random.default_rng(0).normal(size=(50, 2)))


@settings(max_examples=30)
@given(count=st.integers(0, 60), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_random_rows_come_from_the_rows_held_out_and_chosen_ones_never(count: int, share: float, seed: int) -> None:
    learner, held_out = Learner(FEATURES, num_outputs=2), held_out_rows(50, 0.3, seed=seed)
    selection = next_rows(
        strategy_named("k_center"), learner, range(50), count, np.random.default_rng(seed), held_out=held_out,
        share=share,
    )  # fmt: skip
    assert len(set(selection.rows.tolist())) == len(selection.rows) == min(count, 50)
    assert (held_out[selection.rows] == selection.is_random).all()
    if count <= 10:
        assert abs(selection.is_random.sum() - count * share) < 1


def test_a_batch_of_one_row_is_random_now_and_then() -> None:
    learner, held_out = Learner(FEATURES, num_outputs=2), held_out_rows(50, 0.3)
    drawn = [
        next_rows(strategy_named("random"), learner, range(50), 1, np.random.default_rng(k), held_out=held_out)
        for k in range(200)
    ]
    assert 0.1 < np.mean([selection.is_random[0] for selection in drawn]) < 0.3


def test_rows_are_held_out_by_their_number_and_groups_whole() -> None:
    held_out = held_out_rows(20_000, 0.2)
    assert held_out.mean() == pytest.approx(0.2, abs=0.02)
    assert (held_out[:500] == held_out_rows(500, 0.2)).all()
    groups = [None if row % 7 == 0 else f"speaker {row % 5}" for row in range(2_000)]
    grouped = held_out_rows(2_000, 0.4, groups=groups)
    for name in set(groups) - {None}:
        assert len({bool(held) for held, group in zip(grouped, groups, strict=True) if group == name}) == 1
    alone = grouped[[group is None for group in groups]]
    assert 0.2 < alone.mean() < 0.6


def test_shares_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="held-out share: found 1"):
        held_out_rows(5, 1.0)
    with pytest.raises(ConfigError, match="random share: found 2"):
        next_rows(strategy_named("random"), Learner(FEATURES, num_outputs=2), [1], 1, np.random.default_rng(0), share=2)
