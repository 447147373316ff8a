"""Dates and times as people and programs write them.

"03/04/2024" is 3 April in most of the world and March 4 in the United States. No cell can say which, its column can:
one 25/04/2024 settles all. So the order is decided once, for a column, with the evidence counted, and a cell that
contradicts it is refused; reading each cell in whichever order happens to fit would turn a typo into another date
without a word.

A number may be a date too: seconds, milliseconds, microseconds or nanoseconds since 1970, 20240131, a year, or days as
spreadsheets count them (45000 is 15 March 2023). That is told from the column's magnitudes, and only where a column is
said to hold dates.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from polysense.data.media.media import short
from polysense.data.values.numbers import MARKS
from polysense.errors import DecodeError
from polysense.modalities.date.months import LANGUAGES, is_weekday, month_number
from polysense.modalities.date.record import DateUnit

__all__ = [
    "EPOCH",
    "SHEET_EPOCH",
    "DayFirst",
    "Moment",
    "date_unit",
    "day_first",
    "is_missing_date",
    "is_spelled",
    "number_of",
    "parse_date",
    "unread_month",
]

EPOCH = datetime.date(1970, 1, 1).toordinal()
SHEET_EPOCH = datetime.date(1899, 12, 30).toordinal()
"""Day 0 of Excel (from March 1900 on), LibreOffice and Google Sheets."""

_WORD = r"[^\W\d_]{3,15}"
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d+)?))?(?:\s?(?P<half>[ap])\.?m\.?)?"
_ZONE = r"\s?(?P<zone>z|utc|gmt|[+-]\d{2}(?::?\d{2})?)?"
_WEEKDAY = r"(?:(?P<weekday>[^\W\d_]{2,15})(?:-feira)?\.?,?\s+)?"
_OF = r"(?:(?:de|del|di)\s|d['\u2019])?"  # 3 de marzo de 2024
_AT = r"(?:(?:at|um|kl\.?|\u00e0|\u00e0s|om|alle|a las)\s)?"
_YEAR_WORD = r"(?:\s?(?:r|\u0433|\u0440)\.?)?"  # Polish and Russian: 3 marca 2024 r.

_SPELLED = re.compile(
    rf"{_WEEKDAY}(?:"
    r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})"
    r"|(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})(?P<mark>[-/.])(?P<ab_year>\d{4}|\d{2})"
    rf"|(?P<day>\d{{1,2}})(?:st|nd|rd|th|er|re|\u00ba|\u00aa)?(?:\.?\s|\.|-){_OF}(?P<month>{_WORD})\.?(?:,?\s|-){_OF}"
    rf"(?P<year>\d{{4}}){_YEAR_WORD}"
    rf"|(?P<us_month>{_WORD})\.?\s(?P<us_day>\d{{1,2}})(?:st|nd|rd|th)?,?\s(?P<us_year>\d{{4}})"
    rf"|(?P<hu_year>\d{{4}})\.?\s(?P<hu_month>{_WORD})\.?\s(?P<hu_day>\d{{1,2}})\.?"
    r"|(?P<cjk_y>\d{4})\s?[\u5e74\ub144]\s?(?P<cjk_m>\d{1,2})\s?[\u6708\uc6d4]\s?(?P<cjk_d>\d{1,2})\s?[\u65e5\u53f7\uc77c]"
    rf")(?:(?:t|,?\s+){_AT}{_TIME}{_ZONE})?"
    # C's ctime and Twitter: Wed Oct 10 20:19:24 +0000 2018
    rf"|{_WEEKDAY.replace('?P<', '?P<c_')}(?P<c_month>{_WORD})\s+(?P<c_day>\d{{1,2}})\s+{_TIME.replace('?P<', '?P<c_')}"
    rf"\s?(?P<c_zone>[a-z]{{1,4}}|[+-]\d{{2}}:?\d{{2}})?\s+(?P<c_year>\d{{4}})"
    # Web servers' logs: 10/Oct/2018:20:19:24 +0000
    rf"|\[?(?P<log_day>\d{{1,2}})/(?P<log_month>{_WORD})/(?P<log_year>\d{{4}}):{_TIME.replace('?P<', '?P<log_')}"
    rf"{_ZONE.replace('?P<', '?P<log_')}\]?"
    rf"|{_TIME.replace('?P<', '?P<alone_')}",
    re.IGNORECASE,
)
"""The spellings of a date, a time, or both; whether there is such a month and such a day are other questions."""

_MONTH_GROUPS = ("month", "us_month", "hu_month", "c_month", "log_month")

_COMPACT = re.compile(r"(\d{4})-?(\d{2})(?:-?(\d{2})(?:T(\d{2})(\d{2})(\d{2})?(Z)?)?)?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_NO_DAY = re.compile(r"0{4}[-/.]00[-/.]00(?:[ T]00:00:00)?|00[-/.]00[-/.]0{4}")  # MySQL's, for none
_FIRST_SHEET_DAY, _LAST_SHEET_DAY = 7_000, 80_000  # 1919 to 2119
_ZONES = {
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "CET": 1, "CEST": 2,
    "BST": 1, "JST": 9, "MSK": 3,
}  # fmt: skip
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, as its clock and calendar showed it.

    Attributes:
        date: The day; None where only a time of day was given.
        seconds: Since midnight.
        offset: Seconds that the clock was ahead of UTC; 0 where nothing was said.
    """

    date: datetime.date | None
    seconds: float = 0.0
    offset: float = 0.0

    @property
    def since_1970(self) -> float:
        """Seconds since 1970 began in UTC, float64; of a time alone, since midnight."""
        days = 0 if self.date is None else self.date.toordinal() - EPOCH
        return days * 86_400.0 + self.seconds - self.offset


@dataclass(frozen=True, slots=True)
class DayFirst:
    """Whether the day stands before the month in a column's all-digit dates.

    Attributes:
        value: The answer.
        num_day_first: Cells that can only be read with the day first (25/04/2024).
        num_month_first: Cells that can only be read with the month first (04/25/2024).
        num_open: Cells that could be either (03/04/2024).
    """

    value: bool
    num_day_first: int
    num_month_first: int
    num_open: int

    @property
    def is_guess(self) -> bool:
        """Whether no cell tells, though some need an answer."""
        return self.num_open > 0 and self.num_day_first == self.num_month_first

    def __str__(self) -> str:
        order = "day first" if self.value else "month first"
        num_decided = self.num_day_first if self.value else self.num_month_first
        against = self.num_month_first if self.value else self.num_day_first
        if not (num_decided or against or self.num_open):
            return "their order is written out"
        if self.is_guess:
            return f"{order} by convention, no cell tells; set day_first if it is the other way round"
        rest = f", against {against:,}, which can't be read" if against else ""
        return (
            f"{order}, as {num_decided:,} of {num_decided + against + self.num_open:,} cells can only be read so{rest}"
        )


def day_first(values: Iterable[object]) -> DayFirst:
    """Settles the order of day and month for a column.

    Without evidence, dates with points are taken day first (they are written so wherever points are used), others
    month first, as other programs read them.

    Args:
        values: The column's cells; all of them, one may decide.
    """
    first = second = unclear = points = 0
    for value in values:
        result = _SPELLED.fullmatch(value.strip()) if isinstance(value, str) else None
        if result is None or result["a"] is None:
            continue
        a, b = int(result["a"]), int(result["b"])
        if (a > 12) != (b > 12):
            first += a > 12
            second += b > 12
        elif a <= 12 and a != b:
            unclear += 1
            points += result["mark"] == "."
    value_ = first > second if first != second else 2 * points > unclear
    return DayFirst(value_, first, second, unclear)


def date_unit(values: Iterable[object]) -> DateUnit | None:
    """What the numbers of a column of dates count, by most of them.

    None if fewer than half of the cells are numbers: a stray 5 among dates is a typo, not five seconds past 1970.
    """
    read = [number_of(value) for value in values if value is not None]
    numbers = sorted(abs(number) for number in read if number is not None)
    if 2 * len(numbers) < len(read) or not numbers:
        return None
    most = 0.9 * len(numbers)
    if sum(_FIRST_SHEET_DAY <= number <= _LAST_SHEET_DAY for number in numbers) >= most:
        return "sheet"  # as seconds all would lie on the first day of 1970
    if sum(18_000_101 <= number <= 22_001_231 and _is_day(number) for number in numbers) >= most:
        return "day"
    if sum(1_000 <= number < 3_000 and number.is_integer() for number in numbers) >= most:
        return "year"
    middle = numbers[len(numbers) // 2]  # in seconds 1e11 is the year 5138, in milliseconds 1973
    return "s" if middle < 1e11 else "ms" if middle < 1e14 else "us" if middle < 1e17 else "ns"


def parse_date(value: object, day_first: bool = False, unit: DateUnit | None = None) -> Moment | None:
    """A date, a time, or both.

    Args:
        value: A cell: text, a number, or a datetime, date or time object.
        day_first: Whether 03/04/2024 is 3 April.
        unit: What numbers count; None: numbers are no dates.

    Returns:
        None if the cell is missing.

    Raises:
        DecodeError: It is no date, or a day that does not exist.
    """
    if value is None or value != value or (isinstance(value, str) and is_missing_date(value)):
        return None
    try:
        number = number_of(value) if unit is not None else None
        if number is not None:
            return _counted(number, unit)
        if isinstance(value, str):
            result = _spelled(value.strip(), day_first)
        elif isinstance(value, datetime.datetime | datetime.date | datetime.time):
            result = _spelled(value.isoformat(), day_first)
        else:
            result = None
    except (ValueError, OverflowError) as error:
        raise DecodeError(f"found {short(value)}, which is no date: {error}") from None
    if result is None:
        hint = "" if number_of(value) is None else " (numbers are read as dates where most of the column is numbers)"
        raise DecodeError(f"found {short(value)}, expected a date such as 2024-01-31 or 2024-01-31 23:59:00{hint}")
    return result


def is_missing_date(text: str) -> bool:
    """Whether a text stands for a date that is missing."""
    text = text.strip()
    return text.casefold() in MARKS or _NO_DAY.fullmatch(text) is not None


def number_of(value: object) -> float | None:
    """A cell as the number that it is or spells in digits; None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None


def is_spelled(text: str) -> bool:
    """Whether a text is a date or a time, by its spelling and the names in it; there may be no such day."""
    match = _SPELLED.fullmatch(text.strip())
    return match is not None and _unknown_word(match) is None


def unread_month(text: str) -> str | None:
    """The word where a date has its month, if a text is spelled as one and no month is called so."""
    match = _SPELLED.fullmatch(text.strip())
    month = None if match is None else _month_of(match)
    return month if month is not None and month_number(month) is None else None


def _month_of(match: re.Match[str]) -> str | None:
    return next((match[group] for group in _MONTH_GROUPS if match[group] is not None), None)


def _unknown_word(match: re.Match[str]) -> str | None:
    """A word of a date that names neither a month nor a weekday."""
    month, weekday = _month_of(match), match["weekday"] or match["c_weekday"]
    if month is not None and month_number(month) is None:
        return month
    return weekday if weekday is not None and not is_weekday(weekday) else None


def _is_day(number: float) -> bool:
    return number.is_integer() and 1 <= number // 100 % 100 <= 12 and 1 <= number % 100 <= 31


def _counted(number: float, unit: DateUnit | None) -> Moment:
    if unit in ("day", "year"):
        if not number.is_integer():
            raise ValueError(f"expected digits such as {'20240131' if unit == 'day' else '2024'}")
        whole = int(number)
        if unit == "year":
            return Moment(datetime.date(whole, 1, 1))
        return Moment(datetime.date(whole // 10_000, whole // 100 % 100, whole % 100))
    if unit == "sheet":
        days, of_day = divmod(number, 1.0)
        seconds = float(round(of_day * 86_400.0))  # a second is 1.2e-5 of a day, and is written with some digits less
        days, seconds = (days + 1, 0.0) if seconds >= 86_400.0 else (days, seconds)
        return Moment(datetime.date.fromordinal(int(days) + SHEET_EPOCH), seconds)
    days, seconds = divmod(number / _PER_SECOND[str(unit)], 86_400.0)
    return Moment(datetime.date.fromordinal(int(days) + EPOCH), seconds)


def _spelled(text: str, day_first: bool) -> Moment | None:
    match = _SPELLED.fullmatch(text)
    if match is None:
        return _compact(text)
    unknown = _unknown_word(match)
    if unknown is not None:
        what = "weekday" if unknown in (match["weekday"], match["c_weekday"]) else "month"
        raise ValueError(
            f"there is no {what} {unknown.lower()!r} in the languages that are read ({', '.join(LANGUAGES)})"
        )
    if match["alone_hour"] is not None:
        return Moment(None, _clock(match, "alone_"))
    for prefix in ("c_", "log_"):
        if match[prefix + "month"] is not None:
            day = _named(match[prefix + "month"], match[prefix + "day"], match[prefix + "year"])
            return Moment(day, _clock(match, prefix), _offset(match[prefix + "zone"]))
    seconds = _clock(match, "") if match["hour"] is not None else 0.0
    return Moment(_day(match, day_first), seconds, _offset(match["zone"]))


def _compact(text: str) -> Moment | None:
    """ISO 8601's basic form, 20240131T235900Z, and a month, 2024-01."""
    match = _COMPACT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, _ = match.groups()
    clock = datetime.time(int(hour or 0), int(minute or 0), int(second or 0))
    seconds = clock.hour * 3600.0 + clock.minute * 60.0 + clock.second
    return Moment(datetime.date(int(year), int(month), int(day or 1)), seconds)


def _day(match: re.Match[str], day_first: bool) -> datetime.date:
    if match["y"] is not None:
        return datetime.date(int(match["y"]), int(match["m"]), int(match["d"]))
    if match["cjk_y"] is not None:
        return datetime.date(int(match["cjk_y"]), int(match["cjk_m"]), int(match["cjk_d"]))
    if match["a"] is not None:
        first, second, year = int(match["a"]), int(match["b"]), int(match["ab_year"])
        day, month = (first, second) if day_first else (second, first)
        if month > 12 >= day:
            order = "day first" if day_first else "month first"
            raise ValueError(f"there is no month {month}, and this column is read {order} (day_first)")
        if len(match["ab_year"]) == 2:
            year += 1900 if year >= 69 else 2000  # as POSIX has it
        return datetime.date(year, month, day)
    prefix = next(prefix for prefix in ("", "us_", "hu_") if match[prefix + "month"] is not None)
    return _named(match[prefix + "month"], match[prefix + "day"], match[prefix + "year"])


def _named(month: str, day: str, year: str) -> datetime.date:
    number = month_number(month)
    assert number is not None, f"{month} was looked up before"
    return datetime.date(int(year), number, int(day))


def _clock(match: re.Match[str], prefix: str) -> float:
    """Seconds since midnight."""
    hour, minute = int(match[prefix + "hour"]), int(match[prefix + "minute"])
    second = float((match[prefix + "second"] or "0").replace(",", "."))
    half = match[prefix + "half"]
    if half is not None:
        if not 1 <= hour <= 12:
            raise ValueError(f"there is no hour {hour} {half.lower()}m")
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    if hour > 23 or minute > 59 or second >= 61:  # 60 is a leap second
        raise ValueError("there is no such time of day")
    return hour * 3600.0 + minute * 60.0 + second


def _offset(zone: str | None) -> float:
    if zone is None or zone[0] not in "+-":
        return 3600.0 * _ZONES.get((zone or "").upper(), 0)
    digits = zone[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 18 or minutes > 59:
        raise ValueError(f"there is no time zone {zone}")
    return (hours * 3600.0 + minutes * 60.0) * (-1 if zone[0] == "-" else 1)
