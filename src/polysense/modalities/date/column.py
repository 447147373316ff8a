"""Dates and times as a few numbers: how long ago, and where in the year, the month, the week and the day.

A timestamp alone hides what recurs: a network would have to learn to count in sevens to find Sundays. So an item holds
both. What goes round (year, month, day) is a sine and a cosine, so that 31 December lies beside 1 January; the weekday
is one of seven, for what Saturday does need not lie between Friday and Sunday. Each year and month has its own length,
so 1 March stands at the same place in a leap year as in another, to within a day, and the last of a month at its end.

The absolute time follows the instant (an offset such as +02:00 is taken off; without one it is taken for UTC), all else
the clock as it was written: nine in the morning means the same in Tokyo and in Lima.

The absolute time extrapolates: a date after training's last lies where no training row lay. That is how dates are, and
why a split by time is the honest test of a model that reads them.
"""

from __future__ import annotations

import calendar
import contextlib
import datetime
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.modality_spec import parts
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.column import ColumnConfig, ColumnProcessor, TrainingCells
from polysense.data.media.media import short
from polysense.errors import DecodeError
from polysense.modalities.date.parse import DayFirst, Moment, date_unit, day_first, is_missing_date, parse_date
from polysense.modalities.date.record import DateColumn, DateUnit
from polysense.modalities.date.spelling import moment_at, spell, spell_number, spelling_of

__all__ = ["DateColumnConfig", "DateProcessor", "date_features"]

_log = get_logger("polysense.data.columns")

_NUM_SAMPLED = 50_000
_NUM_SPELLED = 100
_DAY = 86_400.0
_SINCE_1970 = ("s", "ms", "us", "ns")
_SHEETS_BEGAN = 10 * 365.25 * _DAY  # 1980; what lies before it may be days since 1970
_MONTH = 30 * _DAY
_TAIL = 0.01  # 9999-12-31 for "never" must not squeeze all other dates together


@dataclass(frozen=True, kw_only=True)
class DateColumnConfig(ColumnConfig):
    """A date, a time, or both, such as a day of admission.

    Attributes:
        day_first: Whether 03/04/2024 is 3 April. auto asks the column: one 25/04/2024 settles it; where no cell does,
            dates with points are read day first, others month first, with a warning.
        unit: What numbers count: seconds since 1970 (s, ms, us, ns), a day or a year by their digits (20240131, 2024),
            or days as spreadsheets count them (sheet). auto tells by their magnitudes.
    """

    modality: ClassVar[str] = "date"
    type: Literal["date"] = "date"
    day_first: Literal["auto"] | bool = "auto"
    unit: Literal["auto"] | DateUnit = "auto"

    def build(self, name: str) -> DateProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return DateProcessor(name, self)


class DateProcessor(ColumnProcessor):
    """Reads dates; each item is float32 [features], see `date_features`."""

    config: DateColumnConfig

    @property
    def column(self) -> DateColumn:
        """See `ColumnProcessor`."""
        return DateColumn.of(super().column)

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> DateColumn:
        unit = date_unit(item for item, _ in cells.items(_NUM_SAMPLED))
        if self.config.unit != "auto":
            unit = self.config.unit
        requested = self.config.day_first
        order = self._settled(day_first(item for item, _ in cells.items())) if requested == "auto" else requested
        result = cells.read(self.name, "dates", lambda cell, _: parse_date(cell, order, unit), _NUM_SAMPLED)
        moments = [moment for moment in result if moment is not None]
        has_dates = 2 * sum(moment.date is not None for moment in moments) >= len(moments)
        moments = [moment for moment in moments if (moment.date is not None) is has_dates]
        has_times = not has_dates or len({moment.seconds for moment in moments}) > 1
        texts = (item.strip() for item, _ in cells.items(_NUM_SPELLED) if isinstance(item, str))
        self.warnings = self._doubts([moment.since_1970 for moment in moments], unit, has_dates)
        center, scale = _range([moment.since_1970 for moment in moments])
        return DateColumn(
            name=self.name,
            mean=center,
            std=scale,
            num_values=(12 if has_dates else 0) + (2 if has_times else 0),
            day_first=order,
            unit=unit,
            has_dates=has_dates,
            has_times=has_times,
            spelling=spelling_of(_readable(texts, order, unit), has_dates=has_dates, has_times=has_times),
        )

    def _doubts(self, seconds: Sequence[float], unit: DateUnit | None, has_dates: bool) -> tuple[str, ...]:
        """Whether the dates lie where hardly any do, as those of numbers that count something else."""
        if not has_dates or not seconds:
            return ()
        first, last = (_day_of(bound) for bound in (min(seconds), max(seconds)))
        setting = f"data.columns.{self.name}.unit"
        if unit in _SINCE_1970 and max(map(abs, seconds)) < _MONTH:
            return (
                f"all dates lie between {first} and {last}, since its numbers are read as {unit} since 1970; if they "
                f"count something else, set {setting}",
            )
        if unit == "sheet":
            text = f"its numbers are read as days of a spreadsheet, {first} to {last}; if they are not, set {setting}"
            if self.config.unit == "auto" and max(seconds) < _SHEETS_BEGAN:
                return (text,)
            _log.info("column %r: %s", self.name, text)
        return ()

    def _settled(self, order: DayFirst) -> bool:
        if order.num_day_first or order.num_month_first or order.num_open:
            doubtful = order.is_guess or (order.num_day_first > 0 and order.num_month_first > 0)
            _log.log(logging.WARNING if doubtful else logging.INFO, "column %r: %s", self.name, order)
        return order.value

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        column = self.column
        moment = moment_at(float(value), has_dates=column.has_dates, has_times=column.has_times)
        if moment is None:
            return None
        if column.unit is not None:
            number = spell_number(moment, column.unit)
            return str(number) if spelled else number
        if spelled:
            return spell(moment, column.spelling)
        clock = datetime.time(*_clock(moment.seconds))
        if moment.date is None:
            return clock.isoformat()
        when = datetime.datetime.combine(moment.date, clock) if column.has_times else moment.date
        return when.isoformat()

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray | None:
        column = self.column
        moment = parse_date(value, column.day_first, column.unit)
        if moment is None:
            return None
        if (moment.date is not None) is not column.has_dates:
            expected = "a date" if column.has_dates else "a time of day alone, as most of the training cells are"
            raise DecodeError(f"found {short(value)}, expected {expected}")
        return date_features(moment, column.mean, column.std, has_times=column.has_times)

    def is_missing(self, cell: object) -> bool:
        return cell is None or (isinstance(cell, str) and is_missing_date(cell))

    def unfamiliar(self, cells: Iterable[object]) -> str | None:
        column, seconds = self.column, list[float]()
        if column.unit not in _SINCE_1970 or abs(column.mean) - column.std < _MONTH:
            return None
        for cell in cells:
            for part in parts(cell):
                with contextlib.suppress(DecodeError):
                    moment = parse_date(part, column.day_first, column.unit)
                    if moment is not None:
                        seconds.append(moment.since_1970)
        if not seconds or max(map(abs, seconds)) >= _MONTH:
            return None
        return (
            f"all {len(seconds):,} dates lie within a month of 1970, read as {column.unit} since then as the training "
            f"cells are; do they count something else?"
        )

    def conflict(self, cells: Sequence[object]) -> str | None:
        unit = date_unit(cells)
        if unit == self.column.unit:
            return None
        return f"its dates are {_unit(self.column.unit)} there and {_unit(unit)} here"


def _readable(texts: Iterable[str], order: bool, unit: DateUnit | None) -> Iterator[tuple[str, Moment]]:
    """The texts that are dates, and what they mean."""
    for text in texts:
        with contextlib.suppress(DecodeError):
            moment = parse_date(text, order, unit)
            if moment is not None:
                yield text, moment


def date_features(moment: Moment, center: float, scale: float, *, has_times: bool) -> np.ndarray:
    """A moment as numbers.

    Args:
        moment: The moment; without a date only its time of day is told.
        center: The middle of the training range, seconds since 1970.
        scale: Half its width in seconds.
        has_times: Whether the time of day is told.

    Returns:
        float32 [12, 14 or 2]: the time since the center over the scale, in [-1, 1] over the training range; sine and
        cosine of the time of year and of the time of month; seven numbers, 1 at the weekday (Monday first), else 0;
        sine and cosine of the time of day.
    """
    results: list[float] = []
    of_day = min(moment.seconds / _DAY, 1.0)
    if moment.date is not None:
        date = moment.date
        days_in_year = 366 if calendar.isleap(date.year) else 365
        day_of_year = date.toordinal() - date.replace(month=1, day=1).toordinal()
        days_in_month = calendar.monthrange(date.year, date.month)[1]
        results.append((moment.since_1970 - center) / scale)
        results += _round((day_of_year + of_day) / days_in_year)
        results += _round((date.day - 1 + of_day) / days_in_month)
        results += [1.0 if date.weekday() == day else 0.0 for day in range(7)]
    if has_times:
        results += _round(of_day)
    return np.array(results, dtype=np.float32)


def _clock(seconds: float) -> tuple[int, int, int]:
    whole = int(seconds)
    return whole // 3600, whole // 60 % 60, whole % 60


def _round(share: float) -> tuple[float, float]:
    angle = 2 * math.pi * share
    return math.sin(angle), math.cos(angle)


def _range(seconds: Sequence[float]) -> tuple[float, float]:
    """(center, half the width) of the training range but for its outermost hundredths; the half width is positive."""
    if not seconds:
        return 0.0, _DAY
    for tail in (_TAIL, 0.0):
        low, high = (float(edge) for edge in np.quantile(seconds, (tail, 1 - tail)))
        if high > low:
            return (low + high) / 2, (high - low) / 2
    return low, _DAY


def _day_of(since_1970: float) -> str:
    """Of a moment, as text."""
    moment = moment_at(since_1970, has_dates=True, has_times=True)
    if moment is None:
        return "no day of the calendar"
    return spell(moment, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")


def _unit(unit: str | None) -> str:
    return "dates" if unit is None else f"numbers ({unit})"
