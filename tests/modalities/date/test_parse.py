"""Dates as they are written: each spelling once, the order of day and month from the column, nothing invented."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.errors import DecodeError
from polysense.modalities.date.parse import Moment, date_unit, day_first, is_spelled, parse_date

DAY = datetime.date(2024, 1, 31)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31", "2024/1/31", "2024.01.31", "31.01.2024", "31/1/2024", "31-01-24", "31 January 2024",
        "31. Jan. 2024", "31-Jan-2024", "31st January, 2024", "Jan 31, 2024", "January 31st 2024", "Wed, 31 Jan 2024",
        " Wednesday 31 January 2024 ",
    ],
)  # fmt: skip
def test_common_spellings(text: str) -> None:
    assert parse_date(text, day_first=True) == Moment(DAY)
    assert is_spelled(text.strip())


@pytest.mark.parametrize(
    ("text", "seconds", "offset"),
    [
        ("2024-01-31T10:30:15", 37815, 0), ("2024-01-31 10:30:15.250", 37815.25, 0), ("2024-01-31 10:30", 37800, 0),
        ("2024-01-31T10:30:15Z", 37815, 0), ("2024-01-31 10:30:15+02:00", 37815, 7200),
        ("2024-01-31 10:30:15 -0330", 37815, -12600), ("2024-01-31T10:30:15+05", 37815, 18000),
        ("31/01/2024 10:30 PM", 81000, 0), ("31/01/2024, 12:00 am", 0, 0), ("31.01.2024 23:59:60", 86400, 0),
        ("20240131T103015Z", 37815, 0), ("Wed, 31 Jan 2024 10:30:15 GMT", 37815, 0),
    ],
)  # fmt: skip
def test_times_and_offsets(text: str, seconds: float, offset: float) -> None:
    assert parse_date(text, day_first=True) == Moment(DAY, float(seconds), float(offset))


@pytest.mark.parametrize(
    ("text", "seconds", "offset"),
    [
        ("Wed Jan 31 10:30:15 +0000 2024", 37815, 0), ("Wed Jan 31 10:30:15 2024", 37815, 0),
        ("Wed Jan 31 10:30:15 UTC 2024", 37815, 0), ("Wed Jan 31 10:30:15 CEST 2024", 37815, 7200),
        ("31/Jan/2024:10:30:15 -0500", 37815, -18000), ("[31/Jan/2024:10:30:15 +0000]", 37815, 0),
    ],
)  # fmt: skip
def test_time_stamps_of_c_and_of_web_servers(text: str, seconds: float, offset: float) -> None:
    assert is_spelled(text)
    assert parse_date(text) == Moment(DAY, float(seconds), float(offset))


@pytest.mark.parametrize("cell", ["-", "?", "#N/A", "n/a", "0000-00-00", "0000-00-00 00:00:00", "unknown"])
def test_marks_for_no_date(cell: str) -> None:
    assert parse_date(cell) is None


@pytest.mark.parametrize(
    ("number", "date", "seconds"),
    [(45000, (2023, 3, 15), 0), (45237.75, (2023, 11, 7), 64800), (25569, (1970, 1, 1), 0), (36526, (2000, 1, 1), 0)],
)
def test_days_as_spreadsheets_count_them(number: float, date: tuple[int, int, int], seconds: float) -> None:
    assert date_unit([number] * 3) == "sheet"
    assert parse_date(number, unit="sheet") == Moment(datetime.date(*date), float(seconds))


def test_a_time_alone() -> None:
    assert parse_date("10:30") == Moment(None, 37800.0)
    assert parse_date(datetime.time(10, 30)) == Moment(None, 37800.0)


def test_equal_instants_are_equal_and_the_epoch_is_zero() -> None:
    spellings = ("2024-01-31 10:00+01:00", "2024-01-31 09:00Z", "2024-01-30 23:00-10:00", "2024-01-31 09:00")
    assert len({found.since_1970 for text in spellings if (found := parse_date(text))}) == 1
    epoch = parse_date("1970-01-01")
    assert epoch is not None
    assert epoch.since_1970 == 0


@given(st.datetimes(timezones=st.none() | st.timezones().filter(lambda zone: "/" in str(zone))))
def test_what_python_writes_is_read_back(moment: datetime.datetime) -> None:
    offset = moment.utcoffset() or datetime.timedelta()
    if offset.total_seconds() % 60:
        return  # local mean time before standard time, which no format but Python's own writes
    midnight = moment.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    expected = (moment.replace(tzinfo=None) - midnight).total_seconds()
    for cell in (moment, moment.isoformat(), moment.isoformat(" ")):
        found = parse_date(cell)
        assert found is not None
        assert (found.date, found.offset) == (moment.date(), offset.total_seconds())
        assert found.seconds == pytest.approx(expected, abs=1e-6)


@given(st.dates(min_value=datetime.date(1000, 1, 1)))
def test_leap_years_and_all_others(date: datetime.date) -> None:
    for text in (f"{date:%d.%m.%Y}", f"{date:%Y-%m-%d}", f"{date:%d %B %Y}"):
        assert parse_date(text, day_first=True) == Moment(date)
    assert parse_date(f"{date:%m/%d/%Y}", day_first=False) == Moment(date)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2023-02-29", "day is out of range"), ("1900-02-29", "day is out of range"), ("2024-13-01", "month must be"),
        ("3 Marble 2024", "no month 'marble'"), ("2024-01-31 25:00", "no such time"), ("13:00 pm", "no hour 13 pm"),
        ("2024-01-31 10:00+99:00", "no time zone"), ("soon", "expected a date such as 2024-01-31"),
        ("5", "numbers are read as dates where"), (1706659200, "numbers are read as dates where"),
        (True, "expected a date"), (b"2024-01-31", "expected a date"), (["2024-01-31"], "expected a date"),
        ("0000-01-01", "year 0 is out of range"),
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(cell: Any, expected: str) -> None:
    with pytest.raises(DecodeError, match=expected):
        parse_date(cell)


@pytest.mark.parametrize("cell", [None, float("nan"), "", " ", "NA"])
def test_missing_is_missing(cell: object) -> None:
    assert parse_date(cell) is None


@given(st.text(max_size=20) | st.from_regex(r"[\d/.: -]{6,20}", fullmatch=True) | st.integers() | st.floats())
def test_any_cell_is_read_or_refused(cell: object) -> None:
    for unit in (None, "s", "ns", "day", "year"):
        for order in (True, False):
            try:
                parse_date(cell, order, unit)  # type: ignore[arg-type]
            except DecodeError:
                continue


@pytest.mark.parametrize(
    ("cells", "value", "is_guess", "told"),
    [
        (["03/04/2024", "25/04/2024", "05/06/2024"], True, False, "day first, as 1 of 3 cells can only be read so"),
        (["03/04/2024", "04/25/2024"], False, False, "month first, as 1 of 2 cells can only be read so"),
        (["03/04/2024", "05/06/2024"], False, True, "month first by convention, no cell tells; set day_first"),
        (["03.04.2024", "05.06.2024"], True, True, "day first by convention"),
        (["25/04/2024"] * 3 + ["04/25/2024"], True, False, "against 1, which can't be read"),
        (["2024-04-03", "3 April 2024", None, 7], False, False, "their order is written out"),
        (["04/04/2024"], False, False, "their order is written out"),
    ],
)
def test_the_whole_column_settles_the_order(cells: list[Any], value: bool, is_guess: bool, told: str) -> None:
    found = day_first(cells)
    assert (found.value, found.is_guess) == (value, is_guess)
    assert told in str(found)


def test_a_cell_that_contradicts_its_column_is_refused_not_turned() -> None:
    with pytest.raises(DecodeError, match=r"no month 25, and this column is read month first \(day_first\)"):
        parse_date("25/04/2024", day_first=False)
    with pytest.raises(DecodeError, match="no month 25, and this column is read day first"):
        parse_date("04/25/2024", day_first=True)


@pytest.mark.parametrize(
    ("cells", "unit", "expected"),
    [
        ([1706659200, "1706662800", 0], "s", Moment(DAY)),
        ([1706659200000, 1706659200500.0], "ms", Moment(DAY)),
        ([1706659200000000], "us", Moment(DAY)),
        ([1706659200000000000], "ns", Moment(DAY)),
        ([20240131, "19991231", 20230101], "day", Moment(DAY)),
        ([2024, "1999"], "year", Moment(datetime.date(2024, 1, 1))),
        ([-86400, -172800], "s", Moment(datetime.date(1969, 12, 31))),
    ],
)
def test_numbers_by_their_magnitude(cells: list[Any], unit: Any, expected: Moment) -> None:
    assert date_unit(cells) == unit
    assert parse_date(cells[0], unit=unit) == expected


def test_a_stray_number_among_dates_is_no_date() -> None:
    assert date_unit(["2024-01-31", "2024-02-01", "5", None]) is None
    assert date_unit([]) is None
