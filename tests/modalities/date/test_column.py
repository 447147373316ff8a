"""A date as features: what recurs recurs exactly, what can't be read is refused, what is saved comes back."""

from __future__ import annotations

import datetime
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.sample import SourceInfo
from polysense.data.column import ColumnProcessor
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.date.column import DateColumnConfig, DateProcessor, date_features
from polysense.modalities.date.parse import Moment
from polysense.tasks.classification.target import ClassificationTargetConfig

Fit = Callable[..., DateProcessor]
SOURCE = SourceInfo(table="t", row=0, column="c")
ABSOLUTE, YEAR, MONTH, WEEK, TIME = slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 12), slice(12, 14)


def item(processor: ColumnProcessor, cell: object) -> np.ndarray:
    (found,) = processor.transform(cell, SOURCE, Path())
    assert found.dtype == np.float32
    assert found.shape == (processor.column.num_values,)
    assert np.isfinite(found).all()
    return found


def features(date: datetime.date, seconds: float = 0.0) -> np.ndarray:
    return date_features(Moment(date, seconds), 0.0, 86_400.0, has_times=True)


def test_the_absolute_time_runs_from_minus_one_to_one_over_the_training_range(fit: Fit) -> None:
    processor = fit(DateColumnConfig(), [f"2024-01-{day:02d}" for day in range(1, 32)] * 20)
    assert item(processor, "2024-01-01")[0] == pytest.approx(-1)
    assert item(processor, "2024-01-16")[0] == pytest.approx(0)
    assert item(processor, "2024-01-31")[0] == pytest.approx(1)
    assert item(processor, "2024-02-15")[0] == pytest.approx(2)  # later than training: goes on, is not cut
    assert processor.column.num_values == 12


def test_one_date_far_away_does_not_squeeze_the_others(fit: Fit) -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 32)] * 20
    plain, odd = fit(DateColumnConfig(), days), fit(DateColumnConfig(), [*days, "9999-12-31"])
    assert item(odd, "2024-01-01")[0] == pytest.approx(item(plain, "2024-01-01")[0], abs=0.1)
    assert fit(DateColumnConfig(), ["2024-01-01"] * 3).column.std == 86_400.0


@given(st.dates(min_value=datetime.date(1600, 1, 1), max_value=datetime.date(2400, 1, 1)))
def test_what_recurs(date: datetime.date) -> None:
    found = features(date)
    assert found[WEEK].argmax() == date.weekday()
    assert found[WEEK].sum() == 1
    np.testing.assert_array_equal(found[WEEK], features(date + datetime.timedelta(days=7))[WEEK])
    later = date.replace(year=date.year + 400)  # the calendar's period
    np.testing.assert_array_equal(found[1:], features(later)[1:])
    for part in (YEAR, MONTH, TIME):
        assert np.linalg.norm(found[part]) == pytest.approx(1, abs=1e-6)
    # Two neighboring days are neighbors on the circle of the year and of the month, also over its end.
    after = features(date + datetime.timedelta(days=1))
    assert np.linalg.norm(found[YEAR] - after[YEAR]) == pytest.approx(2 * math.sin(math.pi / 365), rel=0.01)
    assert np.linalg.norm(found[MONTH] - after[MONTH]) <= 2 * math.sin(math.pi / 28) + 1e-6


def test_leap_years() -> None:
    for year, days in ((2023, 365), (2024, 366), (1900, 365), (2000, 366)):
        first, last = features(datetime.date(year, 1, 1)), features(datetime.date(year, 12, 31))
        np.testing.assert_allclose(first[YEAR], [0, 1], atol=1e-6)
        angle = 2 * math.pi * (days - 1) / days
        np.testing.assert_allclose(last[YEAR], [math.sin(angle), math.cos(angle)], atol=1e-6)
    march = [features(datetime.date(year, 3, 1))[YEAR] for year in (2023, 2024)]
    assert np.linalg.norm(march[0] - march[1]) < 2 * math.pi / 365
    last_of = [features(datetime.date(2024, month, day))[MONTH] for month, day in ((2, 29), (1, 31), (4, 30))]
    assert max(abs(math.atan2(*part)) for part in last_of) <= 2 * math.pi / 29 + 1e-6  # all just before the turn


def test_the_time_of_day_is_told_where_it_varies(fit: Fit) -> None:
    cells = ["2024-01-31 00:00", "2024-01-31 06:00", "2024-01-31 18:00"]
    processor = fit(DateColumnConfig(), cells)
    np.testing.assert_allclose(item(processor, "1999-05-05 06:00:00")[TIME], [1, 0], atol=1e-6)
    assert fit(DateColumnConfig(), ["2024-01-31 06:00", "2024-02-01 06:00"]).column.num_values == 12
    times = fit(DateColumnConfig(), ["10:30", "11:45", "6:00 am", "2024-01-31"])
    np.testing.assert_allclose(item(times, "06:00"), [1, 0], atol=1e-6)
    with pytest.raises(DecodeError, match="expected a time of day alone"):
        times.transform("2024-01-31", SOURCE, Path())
    with pytest.raises(DecodeError, match="found '10:30', expected a date"):
        processor.transform("10:30", SOURCE, Path())


def test_offsets_move_the_instant_not_the_clock(fit: Fit) -> None:
    processor = fit(DateColumnConfig(), ["2024-01-30 10:00Z", "2024-02-02 11:00Z"])
    here, there = item(processor, "2024-01-31 09:00+09:00"), item(processor, "2024-01-31 09:00-05:00")
    np.testing.assert_array_equal(here[1:], there[1:])
    assert there[0] > here[0]
    assert item(processor, "2024-01-31 00:00Z")[0] == here[0]


def test_the_order_is_the_columns(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="polysense.data.columns"):
        processor = fit(DateColumnConfig(), ["03/04/2024"] * 9 + ["25/04/2024"])
    assert processor.column.day_first
    assert "day first, as 1 of 10 cells can only be read so" in caplog.text
    assert item(processor, "03/04/2024")[WEEK].argmax() == datetime.date(2024, 4, 3).weekday()
    with pytest.raises(DecodeError, match="read day first"):
        processor.transform("04/25/2024", SOURCE, Path())
    caplog.clear()
    assert not fit(DateColumnConfig(), ["03/04/2024", "05/06/2024"]).column.day_first
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "month first by convention, no cell tells; set day_first" in caplog.text
    caplog.clear()
    assert fit(DateColumnConfig(day_first=True), ["03/04/2024", "05/06/2024"]).column.day_first
    assert not fit(DateColumnConfig(day_first=False), ["03.04.2024"]).column.day_first
    assert not caplog.records


def test_a_column_without_dates_is_refused(fit: Fit) -> None:
    with pytest.raises(ColumnError, match="none of the 2 training cells that were tried can be read as dates"):
        fit(DateColumnConfig(), ["soon", "later"])


@pytest.mark.parametrize(
    "cells",
    [
        [datetime.date(2024, 1, 31), datetime.date(2024, 2, 29), None],
        [datetime.datetime(2024, 1, 31, 10, 30), datetime.datetime(2024, 2, 29), None],
        pl.Series([datetime.date(2024, 1, 31), datetime.date(2024, 2, 29), None]),
        pl.Series([datetime.datetime(2024, 1, 31, 10, 30), datetime.datetime(2024, 2, 29), None]),
        pl.Series([datetime.datetime(2024, 1, 31, 10, 30), datetime.datetime(2024, 2, 29), None]).dt.replace_time_zone(
            "Europe/Berlin"
        ),
        np.array(["2024-01-31T10:30", "2024-02-29T00:00", "NaT"], dtype="datetime64[ms]"),
        ["2024-01-31", "2024-02-29", "NA"],
        [1706659200, 1709164800, None],
        ["20240131", "20240229", ""],
    ],
    ids=["date", "datetime", "polars date", "polars datetime", "polars zone", "numpy", "text", "unix", "compact"],
)
def test_every_container_of_dates_goes_through_a_table(cells: Any) -> None:
    labels = ["a", "b", "a"]
    frame = isinstance(cells, pl.Series)
    table = read_table(pl.DataFrame({"day": cells, "y": labels}) if frame else {"day": list(cells), "y": labels})
    config = DataConfig(columns={"day": DateColumnConfig()}, targets={"y": ClassificationTargetConfig()})
    processor = Processor.fit(table, config)
    samples = [processor.transform(table, i, with_targets=False) for i in range(3)]
    assert [sample.unreadable for sample in samples] == [(), (), ()]
    assert [int(sample.values["day"][0][WEEK].argmax()) for sample in samples[:2]] == [2, 3]
    assert "day" not in samples[2].values
    assert processor.schema.column("day").num_values == len(samples[0].values["day"][0])


def test_unreadable_dates_are_missing_and_listed() -> None:
    cells = ["2024-01-31", "2024-02-30", "soon", "2024-02-01"]
    table = read_table({"day": cells, "y": ["a", "b", "a", "b"]}, name="t")
    config = DataConfig(columns={"day": DateColumnConfig()}, targets={"y": ClassificationTargetConfig()})
    processor = Processor.fit(table, config)
    samples = [processor.transform(table, i, with_targets=True) for i in range(4)]
    assert ["day" in sample.values for sample in samples] == [True, False, False, True]
    assert "found '2024-02-30', which is no date: day is out of range" in str(samples[1].unreadable[0])
    assert "t, row 2, column 'day'" in str(samples[2].unreadable[0])


def test_several_dates_in_a_cell(fit: Fit) -> None:
    processor = fit(DateColumnConfig(), [["2024-01-31", "2024-02-01"], ["2024-02-02"]])
    assert processor.column.max_items == 2
    assert len(processor.transform(["2024-01-31", None, "2024-02-05"], SOURCE, Path())) == 2


@pytest.mark.parametrize(
    "cells",
    [["03/04/2024 10:00", "25/04/2024"], ["10:30", "11:00"], [1706659200000, 1709164800000], ["2024-01-31"]],
)
def test_saving_and_loading_changes_nothing(cells: list[Any], fit: Fit, tmp_path: Path) -> None:
    processor = fit(DateColumnConfig(), cells)
    loaded = ColumnProcessor.load(json.loads(json.dumps(processor.save(tmp_path))), tmp_path)
    assert isinstance(loaded, DateProcessor)
    assert loaded.column == processor.column
    for cell in cells:
        np.testing.assert_array_equal(item(loaded, cell), item(processor, cell))


def test_days_of_a_spreadsheet_are_written_back_as_such(fit: Fit) -> None:
    processor = fit(DateColumnConfig(), [45000 + 3 * day for day in range(80)])
    assert processor.column.unit == "sheet"
    assert processor.restore(np.array(processor.column.mean), spelled=False) == pytest.approx(45118.5, abs=1)
    assert not processor.warnings
    (warning,) = fit(DateColumnConfig(), [15_000, 20_000]).warnings  # days since 1970 would be 2011 and 2024
    assert "its numbers are read as days of a spreadsheet, 1941-01-24 00:00 to 1954-10-03 00:00" in warning
    assert "set data.columns.c.unit" in warning


def test_dates_that_all_lie_near_1970_are_told(fit: Fit) -> None:
    (warning,) = fit(DateColumnConfig(unit="s"), [45000, 45237]).warnings
    assert "all dates lie between 1970-01-01 12:30 and 1970-01-01 12:33" in warning
    assert fit(DateColumnConfig(), ["1970-01-01", "1970-01-03"]).warnings == ()
    seconds = fit(DateColumnConfig(), [1_600_000_000, 1_700_000_000])
    assert seconds.unfamiliar([1_650_000_000]) is None
    assert "all 2 dates lie within a month of 1970" in str(seconds.unfamiliar([45000, 45001]))
