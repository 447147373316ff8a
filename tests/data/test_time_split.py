"""Splits in time: what judges comes after what trains, and is told what came before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.config import DataConfig
from polysense.data.tables.sources import Table, read_table
from polysense.data.time_split import LastOfGroupSplitConfig, TimeSplitConfig
from polysense.errors import ConfigError, SplitError
from polysense.workflows.prepare import split_tables

Rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), min_size=8, max_size=60)


def table_of(rows: list[tuple[int, int]]) -> Table:
    return read_table({"user": [f"u{user}" for user, _ in rows], "when": [time for _, time in rows]})


@given(Rows)
def test_nothing_that_trains_is_later_than_what_judges(rows: list[tuple[int, int]]) -> None:
    times = np.array([time for _, time in rows])
    try:
        parts = TimeSplitConfig(time="when", validation=0.2, test=0.2).assign(table_of(rows), None, 0)
    except SplitError:
        assert len(np.unique(times)) <= 2 or np.mean(times == times.min()) > 0.5
        return
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        if (parts == earlier).any() and (parts == later).any():
            assert times[parts == earlier].max() < times[parts == later].min()


@given(Rows)
def test_the_last_row_of_each_group_is_the_test(rows: list[tuple[int, int]]) -> None:
    parts = LastOfGroupSplitConfig(group="user", time="when").assign(table_of(rows), None, 0)
    for user in {user for user, _ in rows}:
        own = [i for i, (other, _) in enumerate(rows) if other == user]
        ordered = sorted(own, key=lambda i: (rows[i][1], i))
        expected = [0] * len(own) if len(own) < 3 else [*[0] * (len(own) - 2), 1, 2]
        assert [int(parts[i]) for i in ordered] == expected


def test_a_part_is_told_what_came_between_training_and_itself() -> None:
    rows = [(0, time) for time in range(20)]
    split = TimeSplitConfig(time="when", validation=0.2, test=0.2, group="user")
    parts = split_tables(DataConfig(split=split), table_of(rows), 0)
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [12, 4, 4]
    assert parts["train"].before is None
    assert parts["validation"].before is not None
    assert len(parts["validation"].before) == 0
    assert parts["test"].before is not None
    assert parts["test"].before.rows.tolist() == parts["validation"].rows.tolist()
    assert split.resampled == "user"
    assert split.grouping is None, "a user's rows lie on both sides of the date"


def test_rows_without_a_time_are_in_no_part() -> None:
    table = read_table({"when": ["2024-01-01", "", "2024-01-03", "2024-01-05", "2024-01-04"]})
    parts = TimeSplitConfig(time="when", validation=0.0, test=0.3).assign(table, None, 0)
    assert parts.tolist() == [0, -1, 0, 2, 0]


def test_a_time_that_cannot_be_read_is_said_and_its_row_in_no_part(caplog: pytest.LogCaptureFixture) -> None:
    table = read_table({"when": ["1", "soon", "2", "3", ""]})
    assert TimeSplitConfig(time="when", validation=0.0, test=0.3).assign(table, None, 0).tolist() == [0, -1, 0, 2, -1]
    assert "2 rows without a time ('when') are in no split" in caplog.text
    assert "1 times ('when') can't be read, the first in row 1: found 'soon'" in caplog.text


def test_times_that_tell_nothing_apart_are_refused() -> None:
    with pytest.raises(SplitError, match="no row is before the others"):
        TimeSplitConfig(time="when").assign(read_table({"when": [1, 1, 1]}), None, 0)
    with pytest.raises(SplitError, match="no cell is a time: row 0: found 'soon', expected a number, or a date"):
        TimeSplitConfig(time="when").assign(read_table({"when": ["soon", "later"]}), None, 0)
    with pytest.raises(ConfigError, match="below 1"):
        TimeSplitConfig(time="when", validation=0.6, test=0.5)
