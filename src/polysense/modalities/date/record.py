"""What was learned of a column of dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polysense.core.schema import Column

__all__ = ["DateColumn", "DateUnit"]

DateUnit = Literal["s", "ms", "us", "ns", "day", "year", "sheet"]
"""What a number counts: since 1970; with its digits a day (20240131) or a year (2024); or days as spreadsheets do."""


@dataclass(frozen=True, kw_only=True)
class DateColumn(Column):
    """A column of dates.

    Attributes:
        mean: The middle of the training range, in seconds since 1970.
        std: Half its width, in seconds.
        num_values: Values in one item, see `date_features`.
        day_first: Whether the day stands before the month in all-digit dates.
        unit: What numbers count; None if they are no dates here.
        has_dates: False where the column holds times of day only.
        has_times: Whether the time of day differs between cells.
        spelling: How most of the training cells that are text are spelled, see `spelling.spelling_of`.
    """

    modality: str = "date"
    mean: float
    std: float
    num_values: int
    day_first: bool = False
    unit: DateUnit | None = None
    has_dates: bool = True
    has_times: bool = False
    spelling: str = ""
