"""Columns that number the rows: a data frame's index, a running number, also after rows were drawn or sorted.

A table is often sorted by class before it is numbered, so a row's number tells its class and nothing of a new row. The
name may say it ("", "Unnamed: 0", "index"); else the values must: whole numbers from about 0 on, no two alike although
so many out of so few would collide by chance, or one after the other in the rows' order.
"""

from __future__ import annotations

import re

import numpy as np

from polysense.data.roles.column_names import folded_words, name_words

__all__ = ["INDEX_NAMES", "is_named_index", "numbers_rows"]

INDEX_NAMES = frozenset({"index", "idx", "rowid", "rownum", "rownumber", "rowno", "rownr", "rowindex", "unnamed"})
"""Last words of names that are an index's whatever the values are."""

_GENERATED = re.compile(r"unnamed:?[ _]\d+.*|level_\d+|__index_level_\d+__|\.\.\.1|column_1_*", re.IGNORECASE)
_ROWS = folded_words("row rows line record observation obs zeile zeilen ligne fila riga linha rij")
_NUMBERS = folded_words("number num no nr index idx id position pos count counter nummer numero numéro número")
_TIME = folded_words(
    "year years jahr année ano año anno jaar month monat mois mes mês week day tag jour dia hour minute"
)
_FEWEST = 10  # rows
_COLLISIONS = 20.0  # pairs of equal numbers that chance would make; none with a probability of exp(-20)
_SPREAD = 10.0  # the smallest number, in mean gaps


def is_named_index(name: str, position: int) -> bool:
    """Whether a column's name says that it numbers the rows.

    Args:
        name: The column's name; "column_1" is what a first column without a name is called.
        position: Where it stands in the table, from 0.
    """
    words = name_words(name)
    if _GENERATED.fullmatch(name):
        return position == 0 or not name.startswith(("column", "..."))
    return (bool(words) and words[-1] in INDEX_NAMES) or (
        len(words) == 2 and words[0] in _ROWS and words[1] in _NUMBERS
    )


def numbers_rows(values: np.ndarray, name: str) -> bool:
    """Whether a column's values number the rows.

    Args:
        values: float64 [rows], in the rows' order, those that are there; NaN where one is spelled oddly.
        name: The column's name.
    """
    count = len(values)
    if count < _FEWEST or not np.isfinite(values).all() or (values != np.round(values)).any() or values.min() < 0:
        return False
    ordered = np.sort(values)
    gaps = np.diff(ordered)
    if (gaps == 0).any():
        return False
    if (gaps == 1).all() and ordered[0] in (0, 1):
        return True
    if set(name_words(name)) & _TIME:
        return False
    steps = np.diff(values)
    if (steps == 1).all() or (steps == -1).all():
        return True  # rows cut out of a longer numbered table
    extent = float(ordered[-1]) + 1
    if ordered[0] > _SPREAD * extent / count:
        return False
    if (gaps == gaps[0]).all():
        return False  # a grid of settings, such as 0, 10, 20, ...
    monotonic = bool((steps > 0).all() or (steps < 0).all())
    # n distinct numbers out of N by chance: about n²/2N pairs would be equal.
    return count * count / (2 * extent) >= (_COLLISIONS / 4 if monotonic else _COLLISIONS)
