"""Two numbers in one cell, as "1/2", "120/80" and "3:2": a fraction, a day and a month, a score, two measurements.

No cell and no column says which, and each reading gives other numbers, so none is taken; but it has to be said, since
the cells then count as categories or words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from polysense.data.values.numbers import is_number

__all__ = ["describe_pairs"]

_PAIR = re.compile(r"\s*[+-]?\d{1,4}(?:[.,]\d{1,3})?\s?[/:\u2044\u2236]\s?\d{1,4}(?:[.,]\d{1,3})?\s*")
_MANY = 0.3  # of the cells
_MOST = 0.9  # with those that are numbers
_FEWEST = 2  # different ones


def describe_pairs(cells: Sequence[object]) -> str | None:
    """What is to be said of a column in which many cells are two numbers; None of others.

    Args:
        cells: Its cells that are not missing.
    """
    pairs = [cell for cell in cells if isinstance(cell, str) and _PAIR.fullmatch(cell)]
    if len(pairs) < _MANY * len(cells) or len(set(pairs)) < _FEWEST:
        return None
    if len(pairs) + sum(map(is_number, cells)) < _MOST * len(cells):
        return None
    return (
        f"cells such as {pairs[0].strip()!r} ({len(pairs):,} of {len(cells):,} looked at) may be fractions, days and "
        f"months, or two numbers each (a score, a ratio, 120/80), and are not read as numbers; write fractions as 0.5, "
        f"dates as 2024-02-01, and give two numbers a column each"
    )
