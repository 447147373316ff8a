"""Times as tables spell them, one by one and as whole columns."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

from polysense.data.values.times import column_times, time_of, times_of
from polysense.errors import DecodeError, TableError

DAY = 86_400.0
DATES = ("1970-01-02", "1970-01-02T00:00:00", "1970-01-02 00:00", "1970/01/02", "1970-01-02T00:00:00.0")
ZONED = ("1970-01-02T00:00:00Z", "1970-01-02T01:00:00+01:00")


@pytest.mark.parametrize("cell", [*DATES, *ZONED, datetime.date(1970, 1, 2), datetime.datetime(1970, 1, 2)])
def test_a_date_is_the_seconds_since_1970(cell: object) -> None:
    assert time_of(cell, "dates") == DAY


@pytest.mark.parametrize("cell", [*DATES, *ZONED])
def test_a_column_of_them_is_read_alike(cell: str) -> None:
    times = column_times(pl.Series("t", [cell, None]), "table")
    assert times.dt.epoch("s").to_list() == [int(DAY), None]


def test_numbers_and_missing_times() -> None:
    assert time_of("881250949", "numbers") == time_of(881250949, "numbers") == 881250949.0
    for missing in ("", None, float("nan"), "nan"):
        assert time_of(missing, "numbers") is None
    assert column_times(pl.Series("t", ["881250949", ""]), "table").to_list() == [881250949.0, None]


def test_what_is_no_time_is_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="expected a number, or a date"):
        time_of("last week", "dates")
    with pytest.raises(DecodeError, match=r"found a number among dates: .*20240131"):
        time_of("20240131", "dates")
    with pytest.raises(TableError, match="table, row 1, column 't': found 'soon', expected a number, or a date"):
        column_times(pl.Series("t", ["2024-01-01", "soon"]), "table")


def test_cells_are_of_the_kind_that_most_of_them_are() -> None:
    moments = times_of(["2024-01-01", "20240131", "soon", "", "2024-01-03"])
    assert moments.kind == "dates"
    assert np.isnan(moments.values).tolist() == [False, True, True, True, False]
    assert [position for position, _ in moments.unread] == [1, 2]
    assert "found a number among dates" in moments.unread[0][1]
    assert times_of(["1", "2", "2024-01-01"]).kind == "numbers"
    assert np.isnan(times_of(["1", "2"], "dates").values).all()
