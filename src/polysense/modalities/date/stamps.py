"""Columns of whole numbers that are dates: Unix time, days by their digits (20240131), days of a spreadsheet.

As quantities they say how late a row is and nothing else, and a model may learn from them which day had which answer.
They stay numbers unless the user says otherwise, but never without a word. Unix time of this century and calendar days
of eight digits have magnitudes that hardly any other column has from its least to its largest number. Days of a
spreadsheet (45000) look like salaries; there the column's name decides, or the user.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from polysense.data.roles.column_names import folded_words
from polysense.errors import DecodeError
from polysense.modalities.date.parse import Moment, number_of, parse_date
from polysense.modalities.date.record import DateUnit
from polysense.modalities.date.spelling import spell

__all__ = ["Stamps"]

_SHARE = 0.99  # of the numbers; a few may be 0 or -1 for none
_FEWEST = 3  # distinct ones
_NUM_FIRST, _SHARE_OF_FIRST = 40, 0.8  # cells that are looked at first, and how many of them are of the magnitude
_FIRST, _LAST = 946_684_800.0, 2_051_222_400.0  # 2000 to 2034
_PER_SECOND: dict[DateUnit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_SHORTEST = 86_400.0  # seconds from first to last; numbers nearer to one another are identifiers
_FIRST_DAY, _LAST_DAY = 19_000_101, 20_991_231
_FIRST_SHEET_DAY, _LAST_SHEET_DAY = 20_000, 60_000  # 1954 to 2064
_ROUND = 0.5  # of the numbers; salaries are multiples of ten, days are so in a tenth
_NAMES = folded_words(
    """date dates datetime datum daten dob birthday birthdate geburtsdatum geburtstag fecha fechas jour giorno dag
    дата даты ημερομηνία 日期 日付 날짜 tarih dato päivä"""
)
_SPELLED: dict[DateUnit, str] = {
    "s": "Unix seconds", "ms": "Unix milliseconds", "us": "Unix microseconds", "ns": "Unix nanoseconds",
    "day": "days by their digits", "sheet": "days as spreadsheets count them",
}  # fmt: skip


class Stamps(NamedTuple):
    """What the numbers of a column count, if they are dates.

    Attributes:
        unit: As the column's config has it.
        first: The first day.
        last: The last one.
        is_sure: Whether they can hardly be anything else.
    """

    unit: DateUnit
    first: str
    last: str
    is_sure: bool

    def __str__(self) -> str:
        return f"{_SPELLED[self.unit]} from {self.first} to {self.last}"

    @staticmethod
    def of(cells: Sequence[object], words: Collection[str]) -> Stamps | None:
        """Looks at a column.

        Args:
            cells: Its cells that are not missing.
            words: Of its name, see `column_names.name_words`.
        """
        # Of most columns a few cells tell that they are no dates.
        first = [number_of(cell) for cell in cells[:_NUM_FIRST]]
        if _unit([number for number in first if number is not None], _SHARE_OF_FIRST) is None:
            return None
        numbers = [number for cell in cells if (number := number_of(cell)) is not None]
        if len(numbers) < _SHARE * len(cells) or len(set(numbers)) < _FEWEST:
            return None
        unit = _unit(numbers)
        moments = sorted(_moments(numbers, unit), key=lambda moment: moment.since_1970) if unit is not None else []
        if unit is None or len(moments) < _SHARE * len(numbers):
            return None
        if unit == "sheet":
            is_sure = bool(_NAMES & set(words))
            if not is_sure and sum(number % 10 == 0 for number in numbers) > _ROUND * len(numbers):
                return None
        else:
            is_sure = unit == "day" or moments[-1].since_1970 - moments[0].since_1970 > _SHORTEST
        pattern = "{year:04}-{month:02}-{day:02}"
        return Stamps(unit, spell(moments[0], pattern), spell(moments[-1], pattern), is_sure)


def _unit(numbers: Sequence[float], share: float = _SHARE) -> DateUnit | None:
    """By the magnitude of nearly all of them."""
    most = max(1.0, share * len(numbers))
    for unit, factor in _PER_SECOND.items():
        if sum(_FIRST * factor <= number <= _LAST * factor for number in numbers) >= most:
            return unit
    if not all(number.is_integer() for number in numbers):
        return None
    if sum(_FIRST_DAY <= number <= _LAST_DAY for number in numbers) >= most:
        return "day"
    if sum(_FIRST_SHEET_DAY <= number <= _LAST_SHEET_DAY for number in numbers) >= most:
        return "sheet"
    return None


def _moments(numbers: Sequence[float], unit: DateUnit) -> list[Moment]:
    """The moments of those that a calendar has."""
    moments = []
    for number in numbers:
        try:
            moment = parse_date(number, unit=unit)
        except DecodeError:
            continue
        if moment is not None and math.isfinite(moment.since_1970) and _is_within(number, unit):
            moments.append(moment)
    return moments


def _is_within(number: float, unit: DateUnit) -> bool:
    """Not 0 or -1 for none, which would be the first day."""
    factor = _PER_SECOND.get(unit)
    return number > 0 if factor is None else number >= _FIRST * factor
