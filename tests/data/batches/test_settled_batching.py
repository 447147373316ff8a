"""Whether rows are grouped by length, where the recipe leaves it to the table."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.batches.batching import RowBatchingConfig, TokenBatchingConfig, wasted_by_chance
from polysense.data.batches.token_counts import RowLengths


def lengths_of(longest: list[int]) -> RowLengths:
    return RowLengths(np.ones((len(longest), 1), dtype=np.int64), np.array(longest, dtype=np.int64)[:, None])


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 64))
def test_grouping_never_pads_more_than_chance_by_much(longest: list[int], batch_size: int) -> None:
    waste = wasted_by_chance(lengths_of(longest), batch_size)
    assert waste > 0.5
    assert wasted_by_chance(lengths_of([7] * len(longest)), batch_size) == 1


def test_rows_of_unequal_length_are_grouped_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    draw = np.random.default_rng(0)
    uneven = lengths_of(np.exp(draw.normal(3, 0.8, 500)).astype(int).tolist())
    even = lengths_of(draw.integers(18, 23, 500).tolist())
    with caplog.at_level(logging.INFO, "polysense"):
        assert not RowBatchingConfig().settled(32, lambda: even).needs_lengths
        assert not caplog.records
        settled = RowBatchingConfig().settled(32, lambda: uneven)
    assert settled == RowBatchingConfig(group_by_length=True)
    assert settled.needs_lengths
    assert "random ones would be padded to" in caplog.text


@pytest.mark.parametrize(
    "config", [RowBatchingConfig(group_by_length=False), RowBatchingConfig(group_by_length=True), TokenBatchingConfig()]
)
def test_what_is_said_is_not_measured(config: RowBatchingConfig | TokenBatchingConfig) -> None:
    def fail() -> RowLengths:
        raise AssertionError("lengths were measured")

    assert config.settled(32, fail) is config


def test_one_row_and_none_are_not_grouped() -> None:
    for longest in ([], [5]):
        assert wasted_by_chance(lengths_of(longest), 32) <= 1
