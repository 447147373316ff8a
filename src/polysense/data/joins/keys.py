"""Keys of two tables made comparable, and which rows of the one have which rows of the other as partners.

A key is compared as text, since the same number is text in a CSV file, an integer in a data frame and, with one cell
missing, a float. Whole numbers are spelled alike whatever their type; a looser comparison (whitespace, leading zeros)
is chosen only where it joins more rows and makes no two keys of a table one, and is said.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Int64

from polysense.data.values.cells import SHEET_ERRORS
from polysense.errors import DecodeError, TableError

__all__ = ["LEVELS", "Comparison", "KeyMatch", "choose_level", "key_text", "key_texts", "match"]

Comparison = Literal["exact", "trimmed", "numbers"]
LEVELS: tuple[Comparison, ...] = ("exact", "trimmed", "numbers")
"""How keys may be compared, the strictest first."""

_EXACT_FLOATS = 2.0**53
_NO_KEY = ["", *SHEET_ERRORS]
_NUMBER = r"^[+-]?\d+(\.0*)?$"
_ROWS = "rows"  # of a key; keys are called k0, k1, ...


@dataclass(frozen=True, eq=False, kw_only=True)
class KeyMatch:
    """Which keys are the same.

    Attributes:
        main: Per row of the main table the number of its key among the joined table's, -1 where that lacks it.
        side: Per row of the joined table the number of its key, from 0 in their order; -1 where the key is missing.
        num_keys: Different keys of the joined table.
    """

    main: Int64[np.ndarray, " rows"]
    side: Int64[np.ndarray, " side_rows"]
    num_keys: int

    @property
    def num_joined(self) -> int:
        """Rows of the main table that have a partner."""
        return int((self.main >= 0).sum())


def key_texts(column: pl.Series, where: str) -> pl.Series:
    """A key column as text, null where the key is missing.

    Args:
        column: Text, numbers or booleans.
        where: The table, for messages.

    Raises:
        TableError: Its cells are of another kind, or are floats too large to be told apart.
    """
    kind = column.dtype
    if kind == pl.String:
        texts = pl.col(column.name)
        none = texts.str.strip_chars().is_in(_NO_KEY)
        return column.to_frame().select(pl.when(none).then(None).otherwise(texts).alias(column.name)).to_series()
    if kind.is_integer() or kind == pl.Boolean:
        return column.cast(pl.String)
    if kind.is_float():
        numbers = pl.col(column.name)
        frame = column.cast(pl.Float64).to_frame()
        frame = frame.select(pl.when(numbers.is_finite()).then(numbers).otherwise(None).alias(column.name))
        largest = frame.to_series().abs().max()
        if isinstance(largest, float) and largest > _EXACT_FLOATS:
            raise TableError(
                f"{where}, column {column.name!r}: found the float {largest:.0f} as a key, and floats above 2^53 are "
                f"no exact numbers, so that different keys may be one; read the column as whole numbers or as text"
            )
        whole = numbers.cast(pl.Int64, strict=False)
        spelled = pl.when(whole == numbers).then(whole.cast(pl.String)).otherwise(numbers.cast(pl.String))
        return frame.select(spelled.alias(column.name)).to_series()
    raise TableError(
        f"{where}, column {column.name!r}: found cells of type {kind} as keys; expected text, whole numbers or booleans"
    )


def key_text(cell: object, level: Comparison) -> str | None:
    """One key as text, as `match` compares it; None where it is missing. Two cells are one key where this is equal.

    Args:
        cell: As `Table.cell` gives it, literally.
        level: How keys are compared.

    Raises:
        DecodeError: It is of another kind, or a float too large to be told apart.
    """
    if cell is None:
        return None
    if isinstance(cell, bool):
        text = str(cell).lower()
    elif isinstance(cell, float):
        if not math.isfinite(cell):
            return None
        if abs(cell) > _EXACT_FLOATS:
            raise DecodeError(f"found the float {cell:.0f} as a key, and floats above 2^53 are no exact numbers")
        text = str(int(cell)) if cell.is_integer() else str(cell)
    elif isinstance(cell, (str, int)):
        text = str(cell)
    else:
        raise DecodeError(f"found a {type(cell).__name__} as a key, expected text, a whole number or a boolean")
    if text.strip() in _NO_KEY:
        return None
    if level == "exact":
        return text
    text = unicodedata.normalize("NFC", text).strip()
    if level == "numbers" and re.fullmatch(_NUMBER, text):
        sign = "-" if text.startswith("-") else ""
        digits = text.lstrip("+-").partition(".")[0].lstrip("0") or "0"
        return digits if digits == "0" else sign + digits
    return text


def _at_level(texts: pl.Series, level: Comparison) -> pl.Series:
    if level == "exact":
        return texts
    plain = pl.col(texts.name).str.normalize("NFC").str.strip_chars()
    if level == "numbers":
        digits = plain.str.replace(r"\.0*$", "").str.replace(r"^\+", "").str.replace(r"^(-?)0+(\d)", "${1}${2}")
        plain = pl.when(plain.str.contains(_NUMBER)).then(digits.replace({"-0": "0"})).otherwise(plain)
    return texts.to_frame().select(plain.alias(texts.name)).to_series()


def match(main: Sequence[pl.Series], side: Sequence[pl.Series], level: Comparison) -> KeyMatch:
    """Finds each row's key among those of the joined table.

    Args:
        main: The main table's key columns, from `key_texts`.
        side: The joined one's, in the same order.
        level: One of `LEVELS`.
    """
    names = [f"k{i}" for i in range(len(main))]
    here = pl.DataFrame([_at_level(column, level).alias(name) for name, column in zip(names, main, strict=True)])
    there = pl.DataFrame([_at_level(column, level).alias(name) for name, column in zip(names, side, strict=True)])
    known = there.drop_nulls().unique(maintain_order=True).with_row_index("number")

    def numbers(frame: pl.DataFrame) -> np.ndarray:
        joined = frame.join(known, on=names, how="left", maintain_order="left").get_column("number")
        return joined.cast(pl.Int64).fill_null(-1).to_numpy()

    return KeyMatch(main=numbers(here), side=numbers(there), num_keys=len(known))


def choose_level(main: Sequence[pl.Series], side: Sequence[pl.Series]) -> Comparison:
    """The strictest comparison by which most rows are joined, of those that make no two keys of a table one.

    Whitespace may make keys one: that `A` and `A ` are two things was never meant.
    """
    here, there = _distinct(main), _distinct(side)
    with_key = int(here.drop_nulls().get_column(_ROWS).sum())
    best, most = LEVELS[0], -1
    for level in LEVELS:
        if most == with_key:  # no comparison joins more
            break
        if level == "numbers" and any(_merges(keys) for keys in (here, there)):
            continue
        own, others = _spelled(here, level), _spelled(there, level).drop(_ROWS)
        joined = int(own.join(others.drop_nulls(), on=others.columns, how="semi").get_column(_ROWS).sum())
        if joined > most:
            best, most = level, joined
    return best


def _distinct(columns: Sequence[pl.Series]) -> pl.DataFrame:
    """Each different key of a table once, and how many rows have it."""
    frame = pl.DataFrame([column.alias(f"k{i}") for i, column in enumerate(columns)])
    return frame.group_by(frame.columns).agg(pl.len().alias(_ROWS))


def _spelled(keys: pl.DataFrame, level: Comparison) -> pl.DataFrame:
    return keys.with_columns(_at_level(keys.get_column(name), level) for name in keys.columns if name != _ROWS)


def _merges(keys: pl.DataFrame) -> bool:
    """Whether two keys of a table are one as numbers that are two without whitespace."""
    trimmed, numbers = (_spelled(keys, level).drop(_ROWS).n_unique() for level in LEVELS[1:])
    return bool(numbers < trimmed)
