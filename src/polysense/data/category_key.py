"""Categories and classes: one spelling each, so that 1, 1.0 and "1", or True and "true", are the same one."""

from __future__ import annotations

import re

from polysense.data.media import short
from polysense.errors import DecodeError

__all__ = ["category_key"]

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")


def category_key(value: object) -> str | None:
    """The one spelling of a category or a class; None if the cell is missing.

    Raises:
        DecodeError: The cell is no category: bytes, a list or a dict.
    """
    if isinstance(value, str):
        text = value.strip()
        whole = _WHOLE.fullmatch(text)
        if whole:
            return "0" if whole[1] == "-0" else whole[1]
        lower = text.lower()
        return lower if lower in ("true", "false") else text or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() else str(value)
    if value is None:
        return None
    raise DecodeError(
        f"found {short(value)} ({type(value).__name__}), expected one category: text, a number or a boolean"
    )
