"""Times: a whole column of them, where one that can't be read ends what is done, or each by itself.

A join that orders rows needs every time to be one of a kind, and is refused otherwise. A split or a history goes on
without a row whose time can't be read, and reads a single row as it reads the column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal

import numpy as np
import polars as pl

from polysense.data.media.media import short
from polysense.data.values.cells import MISSING, clean
from polysense.errors import DecodeError, TableError

__all__ = ["Moments", "TimeKind", "column_times", "time_of", "times_of"]

TimeKind = Literal["numbers", "dates"]

_FORMS = ("%Y/%m/%d", "%Y/%m/%d %H:%M:%S")


@dataclass(frozen=True, eq=False)
class Moments:
    """The times of some cells.

    Attributes:
        values: float64 [cells], growing with time; NaN where there is none that can be read.
        kind: What they are, as most cells have it.
        unread: Positions of cells that hold no time, and why.
    """

    values: np.ndarray
    kind: TimeKind
    unread: tuple[tuple[int, str], ...]


def times_of(cells: Iterable[object], kind: TimeKind | None = None) -> Moments:
    """Reads times, all of one kind: a number among dates says nothing of when.

    Args:
        cells: As `Table.cells` gives them.
        kind: What they are; None: as most of them are.
    """
    values, are_numbers, unread = list[float](), list[bool](), dict[int, str]()
    for position, cell in enumerate(cells):
        value, is_number = math.nan, False
        try:
            if (known := _read(cell)) is not None:
                value, is_number = known
        except DecodeError as error:
            unread[position] = str(error)
        values.append(value)
        are_numbers.append(is_number)
    moments, numbers = np.array(values, dtype=np.float64), np.array(are_numbers, dtype=bool)
    there = ~np.isnan(moments)
    if kind is None:
        kind = "numbers" if 2 * np.count_nonzero(numbers[there]) > np.count_nonzero(there) else "dates"
    others = np.flatnonzero(there & (numbers != (kind == "numbers")))
    moments[others] = np.nan
    unread |= dict.fromkeys(others.tolist(), f"found {_OTHER[kind]} among {kind}")
    return Moments(moments, kind, tuple(sorted(unread.items())))


_OTHER: dict[TimeKind, str] = {"numbers": "a date", "dates": "a number"}


def time_of(cell: object, kind: TimeKind) -> float | None:
    """A time as a number that grows: as it is, or the seconds since 1970 of a date, in UTC where it has no zone.

    Args:
        cell: As `Table.cell` gives it; None if missing.
        kind: What the column's cells are.

    Raises:
        DecodeError: It is none, or of the other kind.
    """
    known = _read(cell)
    if known is None:
        return None
    value, is_number = known
    if is_number != (kind == "numbers"):
        raise DecodeError(f"found {_OTHER[kind]} among {kind}: {short(str(cell))}")
    return value


def _read(cell: object) -> tuple[float, bool] | None:
    """A time, and whether it is a number."""
    cell = clean(cell)
    if cell is None:
        return None
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp(), False
    if isinstance(cell, date):
        return datetime.combine(cell, time(), UTC).timestamp(), False
    if isinstance(cell, (int, float)):
        return (float(cell), True) if math.isfinite(cell) else None
    text = str(cell).strip()
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return (number, True) if math.isfinite(number) else None
    for read in (datetime.fromisoformat, *(lambda text, form=form: datetime.strptime(text, form) for form in _FORMS)):
        try:
            return _read(read(text))
        except ValueError:
            continue
    raise DecodeError(f"found {short(text)}, expected a number, or a date or time as 2024-01-31 or 2024-01-31T12:00:00")


def column_times(cells: pl.Series, table: str) -> pl.Series:
    """A column of times as numbers or as dates and times, null where they are missing. Those with a zone are UTC.

    Args:
        cells: Of one column.
        table: What messages call the table.

    Raises:
        TableError: A cell is neither; names the first.
    """
    if cells.dtype.is_numeric():
        return cells.cast(pl.Float64).fill_nan(None)
    if cells.dtype != pl.String:
        raise TableError(f"{table}, column {cells.name!r}: found cells of type {cells.dtype}, expected times")
    texts = cells.str.strip_chars()
    texts = texts.set(texts.is_in([*MISSING]), None)
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() == texts.null_count():
        return numbers
    plain = texts.str.replace("T", " ", literal=True)
    times = pl.select(
        pl.coalesce(
            plain.str.to_datetime(form, strict=False, time_unit="us")
            for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d", "%Y/%m/%d %H:%M:%S%.f")
        )
    ).to_series()
    if times.null_count() > texts.null_count():
        zoned = plain.str.replace("Z$", "+00:00")
        in_zones = pl.select(
            pl.coalesce(
                zoned.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
                for form in ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M%:z")
            )
        ).to_series()
        if in_zones.null_count() == texts.null_count():
            return in_zones
        row = int(np.flatnonzero(times.is_null().to_numpy() & texts.is_not_null().to_numpy())[0])
        raise TableError(
            f"{table}, row {row}, column {cells.name!r}: found {texts[row]!r}, expected a number, or a date or time "
            f"as 2024-01-31 or 2024-01-31T12:00:00, with a time zone (Z, +02:00) in all cells or in none"
        )
    return times
