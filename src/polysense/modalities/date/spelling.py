"""How a column spells its dates, so that a date can be written as the others of the column are.

The spelling that most of the training cells have to the letter is taken. It is found by writing each cell's own date in
every spelling that is known here and comparing, so what is written reads back as the same date by construction.
Where no cell is spelled in any of them, dates are written as ISO 8601 has it.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable

from polysense.modalities.date.parse import EPOCH, SHEET_EPOCH, Moment
from polysense.modalities.date.record import DateUnit

__all__ = ["moment_at", "spell", "spell_number", "spelling_of"]

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = (
    "{year:04}-{month:02}-{day:02}", "{year:04}/{month:02}/{day:02}", "{year:04}.{month:02}.{day:02}",
    "{day:02}.{month:02}.{year:04}", "{day:02}/{month:02}/{year:04}", "{day:02}-{month:02}-{year:04}",
    "{month:02}/{day:02}/{year:04}", "{month:02}-{day:02}-{year:04}", "{month:02}.{day:02}.{year:04}",
    "{day}.{month}.{year:04}", "{day}/{month}/{year:04}", "{month}/{day}/{year:04}", "{year:04}-{month}-{day}",
    "{day:02}.{month:02}.{short:02}", "{day:02}/{month:02}/{short:02}", "{month:02}/{day:02}/{short:02}",
    "{day}.{month}.{short:02}", "{day}/{month}/{short:02}", "{month}/{day}/{short:02}",
    "{day} {name} {year:04}", "{day:02} {name} {year:04}", "{day} {abbreviated} {year:04}",
    "{day:02} {abbreviated} {year:04}", "{day:02}-{abbreviated}-{year:04}", "{name} {day}, {year:04}",
    "{abbreviated} {day}, {year:04}", "{abbreviated} {day:02}, {year:04}", "{day}. {name} {year:04}",
    "{year:04}{month:02}{day:02}", "{year:04}-{month:02}",
)  # fmt: skip
_CLOCKS = (
    "{hour:02}:{minute:02}:{second:02}", "{hour:02}:{minute:02}", "{hour}:{minute:02}",
    "{hour}:{minute:02}:{second:02}",
    "{half}:{minute:02} {am}", "{half:02}:{minute:02} {am}", "{hour:02}:{minute:02}:{second:02}.{micro:06}",
    "{hour:02}:{minute:02}:{second:02}.{milli:03}",
)  # fmt: skip
_JOINS = (("{} {}", ""), ("{}T{}", ""), ("{}T{}", "Z"), ("{} {}", "+00:00"), ("{}T{}", "+00:00"))
_NUM_LOOKED_AT = 100  # cells; each is written in all spellings, about 1 ms


def _spellings(has_dates: bool, has_times: bool) -> list[str]:
    if not has_dates:
        return list(_CLOCKS)
    timed = [join.format(day, clock) + zone for day in _DAYS[:12] for clock in _CLOCKS for join, zone in _JOINS]
    return [*timed, *_DAYS] if has_times else [*_DAYS, *timed]


def spelling_of(cells: Iterable[tuple[str, Moment]], *, has_dates: bool, has_times: bool) -> str:
    """The spelling of a column.

    Args:
        cells: Texts and what they mean; the first 100 are looked at.
        has_dates: Whether they are dates, not times of day alone.
        has_times: Whether their times of day differ.
    """
    known = _spellings(has_dates, has_times)
    counts: Counter[str] = Counter()
    for number, (text, moment) in enumerate(cells):
        if number == _NUM_LOOKED_AT:
            break
        counts.update(one for one in known if spell(moment, one) == text)
    if counts:
        most = max(counts.values())
        return next(one for one in known if counts[one] == most)
    return known[0]


def spell(moment: Moment, spelling: str) -> str:
    """A moment as text; where it has no date, its day is left out of the spelling too."""
    date = moment.date or datetime.date(1970, 1, 1)
    micro = round(moment.seconds * 1e6)
    seconds, micro = divmod(micro, 1_000_000)
    hour = seconds // 3600
    name = _MONTHS[date.month - 1]
    return spelling.format(
        year=date.year, short=date.year % 100, month=date.month, day=date.day, name=name, abbreviated=name[:3],
        hour=hour, minute=seconds // 60 % 60, second=seconds % 60, micro=micro, milli=micro // 1000,
        half=(hour - 1) % 12 + 1, am="AM" if hour < 12 else "PM",
    )  # fmt: skip


def spell_number(moment: Moment, unit: DateUnit) -> int | float:
    """A moment as the number that a column counts."""
    date = moment.date or datetime.date(1970, 1, 1)
    if unit == "year":
        return date.year
    if unit == "day":
        return date.year * 10_000 + date.month * 100 + date.day
    if unit == "sheet":
        days = date.toordinal() - SHEET_EPOCH
        return days + round(moment.seconds / 86_400, 6) if moment.seconds else days
    return (date.toordinal() - EPOCH) * 86_400 * _PER_SECOND[unit] + round(moment.seconds * _PER_SECOND[unit])


def moment_at(since_1970: float, *, has_dates: bool, has_times: bool) -> Moment | None:
    """The moment so many seconds after 1970 began, to the second; None where no calendar has it.

    Args:
        since_1970: Seconds; of a time of day alone, since midnight.
        has_dates: Whether there is a day, or only a time of day.
        has_times: Whether there is a time of day; else the nearest midnight is meant.
    """
    if not math.isfinite(since_1970):
        return None
    whole = round(since_1970)
    if not has_dates:
        return Moment(None, float(min(max(whole, 0), 86_399)))
    days, seconds = divmod(whole, 86_400)
    if not has_times:
        days, seconds = days + (seconds >= 43_200), 0
    try:
        return Moment(datetime.date.fromordinal(days + EPOCH), float(seconds))
    except (ValueError, OverflowError):
        return None
