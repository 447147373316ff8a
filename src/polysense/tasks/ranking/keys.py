"""Keys of users and items, and ratings, as a row's cells spell them."""

from __future__ import annotations

import math

from polysense.data.media.media import short
from polysense.data.values.cells import clean
from polysense.errors import DecodeError

__all__ = ["key_of", "number_of"]


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
