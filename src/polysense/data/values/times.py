"""Times as cells spell them, each by itself, so that a column and a single row are read alike."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time

from polysense.data.media.media import short
from polysense.data.values.cells import clean
from polysense.errors import DecodeError

__all__ = ["time_of"]

_FORMS = ("%Y/%m/%d", "%Y/%m/%d %H:%M:%S")


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
