"""Keys of users and items, and times, as a row's cells spell them; one function for a column and for a single row."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time

from polysense.data.media.media import short
from polysense.data.values.cells import clean
from polysense.errors import DecodeError

__all__ = ["key_of", "number_of", "time_of"]

_FORMS = ("%Y/%m/%d", "%Y/%m/%d %H:%M:%S")


def key_of(cell: object) -> str | None:
    """A key as text, the same whether a table holds it as text, as a whole number or as a float; None if missing.

    Raises:
        DecodeError: It is no key, as a list or a file.
    """
    cell = clean(cell, True)
    if cell is None:
        return None
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else str(cell)
    if isinstance(cell, (str, int)):
        text = str(cell).strip()
        return text or None
    raise DecodeError(f"found a {type(cell).__name__} as a key, expected text or a number")


def number_of(cell: object) -> float | None:
    """A number; None if missing; raises DecodeError."""
    cell = clean(cell)
    if cell is None:
        return None
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise DecodeError(f"found {short(str(cell))}, expected a number") from None
    return number if math.isfinite(number) else None


def time_of(cell: object) -> float | None:
    """A time as a number that grows: as it is, or the seconds since 1970 of a date, in UTC where it has no zone.

    Raises:
        DecodeError: It is neither.
    """
    cell = clean(cell)
    if cell is None:
        return None
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp()
    if isinstance(cell, date):
        return datetime.combine(cell, time(), UTC).timestamp()
    if isinstance(cell, (int, float)):
        return float(cell) if math.isfinite(cell) else None
    text = str(cell).strip()
    try:
        return float(text)
    except ValueError:
        pass
    for read in (datetime.fromisoformat, *(lambda text, form=form: datetime.strptime(text, form) for form in _FORMS)):
        try:
            return time_of(read(text))
        except ValueError:
            continue
    raise DecodeError(f"found {short(text)}, expected a number, or a date or time as 2024-01-31 or 2024-01-31T12:00:00")
