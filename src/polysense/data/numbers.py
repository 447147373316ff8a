"""Numbers as people write them: "1,5", "1 000", "50%", "1e3", "1.234,5".

Which of comma and point is the decimal mark is settled for a column, not for a cell: "1,234" alone could be either, but
in a column that also holds "0,5" it is 1.234.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Literal

from polysense.data.cells import MISSING
from polysense.data.media import short
from polysense.errors import DecodeError

__all__ = ["decimal_mark", "is_number", "parse_number", "stripped"]

_SPACES = " \u00a0\u202f\u2009"
_NUMBER = re.compile(
    rf"[+\-−]?(?:\d+(?:[.,]\d*)?|[.,]\d+|\d{{1,3}}(?:[{_SPACES}']\d{{3}})+(?:[.,]\d+)?"
    r"|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+(?:,\d+)?)(?:[eE][+\-]?\d{1,3})?\s?%?"
)
_NOISE = re.compile(r"[\s'%]")
# A mark that can't stand before thousands: not followed by exactly three digits, or preceded by a bare 0 or nothing.
_DECIMAL = re.compile(r"(?:\d([.,])(?:\d{0,2}|\d{4,})(?!\d)|(?<![\d.,])0?([.,])\d+)(?:[eE]|$)")


def is_number(value: object) -> bool:
    """Whether a cell is a number or spells one."""
    return isinstance(value, (int, float)) or (isinstance(value, str) and bool(_NUMBER.fullmatch(value.strip())))


def stripped(text: str) -> str:
    """A spelled number without spaces, apostrophes and percent signs."""
    return _NOISE.sub("", text)


def decimal_mark(values: Iterable[object]) -> Literal[".", ","] | None:
    """The decimal mark of a column's texts; None if nothing tells, or both occur."""
    marks: set[str] = set()
    for value in values:
        if isinstance(value, str) and ("," in value or "." in value) and is_number(value):
            text = stripped(value).lstrip("+-−")
            match = _DECIMAL.search(text)
            if match:
                marks.add(match[1] or match[2])
            elif "," in text and "." in text:
                marks.add(text[max(text.rfind(","), text.rfind("."))])
    return marks.pop() if len(marks) == 1 else None  # type: ignore[return-value]


def parse_number(value: object, mark: Literal[".", ","] | None = None) -> float | None:
    """A number as people write it: "1,5", "1 000", "1.234,5", "50%" (50), "1e3", True (1).

    Args:
        value: A cell.
        mark: The column's decimal mark. Without it the last mark is the decimal one, unless it stands several times or
            is a comma before exactly three digits ("1,234").

    Returns:
        A finite float; None if the cell is missing.

    Raises:
        DecodeError: It is not a number, or not a finite one.
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str) and value.strip() in MISSING:
        return None
    if isinstance(value, list) and len(value) == 1:
        return parse_number(value[0], mark)
    if not is_number(value):
        raise DecodeError(f"found {short(value)}, expected a number")
    try:
        number = _spelled(value, mark) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        raise DecodeError(f"found {short(value)}, expected a number that a float can hold") from None
    if not math.isfinite(number):
        raise DecodeError(f"found {short(value)}, expected a finite number")
    return number


def _spelled(value: str, mark: Literal[".", ","] | None) -> float:
    text = stripped(value).replace("−", "-")
    if mark is None:
        last = max(text.rfind("."), text.rfind(","))
        mark = "," if last >= 0 and text[last] == "," else "."
        other = "." if mark == "," else ","
        before_thousands = mark == "," and other not in text and re.search(r"[1-9]\d*,\d{3}(?:[eE]|$)", text)
        if text.count(mark) > 1 or before_thousands:
            mark = "." if mark == "," else ","
    text = text.replace("." if mark == "," else ",", "")
    return float(text.replace(mark, "."))
