"""One cell as plain Python, and plain Python values as one polars column.

Both directions are in one place because they must agree: whatever container a table came in, a cell reads the same.
Everything is held in a typed polars column, never in an Object column: those can't be sent to a worker process. The
price is that a column of mixed scalars becomes text (1 and "1" are then the same class).
"""

from __future__ import annotations

import ast
import datetime
import decimal
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from polysense.errors import TableError

__all__ = ["MEDIA", "MISSING", "SHEET_ERRORS", "as_series", "clean", "clean_all", "normalize"]

SHEET_ERRORS = frozenset({
    "#N/A", "#N/A N/A", "#NA", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#SPILL!", "#CALC!",
    "#ERROR!",
})  # fmt: skip
"""What a spreadsheet writes into a cell that has no value; missing in every column, targets too."""

MISSING = SHEET_ERRORS | frozenset({
    "", "NA", "N/A", "n/a", "N.A.", "n.a.", "<NA>", "<na>", "NaN", "nan", "NAN", "-NaN", "-nan", "NaT", "1.#IND",
    "-1.#IND",
    "1.#QNAN", "-1.#QNAN", "null", "Null", "NULL", "(null)", "<null>", "\\N", "None",
})  # fmt: skip
"""The spellings of a missing input cell, surrounding whitespace aside; columns of numbers and dates know more."""

MEDIA = pl.Struct({"bytes": pl.Binary, "path": pl.String})
"""A media cell as the `datasets` package stores it."""

_SIMPLE = frozenset({type(None), str, int, bool, bytes})
_INT64 = range(-(2**63), 2**63)


def clean(value: object, literal: bool = False) -> object:
    """A cell as plain Python: None if missing, else a str, int, float, bool, bytes, list or dict.

    Args:
        value: As polars gives it.
        literal: Take "NA", "None" and their like for text. Targets are read so: NA may be Namibia, and "none" a class.

    Returns:
        A string as it stands, whitespace included. A string that is a JSON list ('["a.png", "b.png"]', or the same as
        Python spells it) becomes that list; items stand as they are.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text or (text in SHEET_ERRORS if literal else text in MISSING):
            return None
        if text[0] != "[" or text[-1] != "]":
            return value
        value = _parse_list(text)
        if value is None:
            return text
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, list) and not literal and all(item is None for item in value):
        return None
    if isinstance(value, dict) and all(item is None for item in value.values()):
        return None
    return value


def clean_all(series: pl.Series, literal: bool = False) -> list[object]:
    """All cells of a column; equal to `clean` on each, but vectorized where that is the same."""
    kind = series.dtype
    if kind.is_integer() or kind in (pl.Boolean, pl.Binary):
        return series.to_list()
    if kind.is_float():
        return series.fill_nan(None).to_list()
    return [clean(value, literal) for value in series.to_list()]  # 0.2 us a text


def _parse_list(text: str) -> list[Any] | None:
    """The list that a string spells, if its items are strings, numbers or null; else None."""
    parsers = (json.loads, ast.literal_eval) if text[1:].lstrip()[:1] in ("'", '"') else (json.loads,)
    for parse in parsers:
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list) and all(
            item is None or (isinstance(item, (str, int, float)) and not isinstance(item, bool)) for item in value
        ):
            return value
    return None


def normalize(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """A frame whose cells all read as plain Python.

    Dates and times become ISO text, decimals and durations (in seconds) floats, categoricals text, fixed-size arrays
    lists, and Object columns whatever `as_series` makes of them.
    """
    columns = []
    for series in frame:
        kind = series.dtype
        if kind == pl.Object:
            series = as_series(series.name, series.to_list(), where)
        elif isinstance(kind, (pl.Categorical, pl.Enum, pl.Null)):
            series = series.cast(pl.String)
        elif isinstance(kind, pl.Decimal):
            series = series.cast(pl.Float64)
        elif isinstance(kind, pl.Duration):
            series = series.dt.total_microseconds() / 1e6
        elif kind.is_temporal():
            series = series.dt.to_string("iso")
        elif isinstance(kind, pl.Array):
            series = series.arr.to_list()
        columns.append(series)
    return pl.DataFrame(columns)


def as_series(name: str, values: Sequence[object], where: str) -> pl.Series:
    """A typed column from Python values.

    Args:
        name: The column's name.
        values: Scalars, bytes, lists, dicts, numpy values, paths, dates or Pillow images; None, NaN and pandas' NA
            are missing. A column of mixed scalars becomes text.
        where: The table, for messages.

    Raises:
        TableError: A cell holds something that a table can't; names row, column and type.
    """
    plain: list[Any] = []
    for row, value in enumerate(values):
        try:
            plain.append(value if type(value) in _SIMPLE else _plain(value))
        except (TypeError, ValueError, OSError) as error:
            raise TableError(
                f"{where}, row {row}, column {name!r}: found a {type(value).__name__}; expected text, a number, a "
                f"boolean, bytes, a list, a dict or an image ({error})"
            ) from None
    try:
        kind, unified = _unify(plain)
        return pl.Series(name, unified, dtype=kind, strict=True)
    except (pl.exceptions.PolarsError, TypeError, OverflowError, UnicodeEncodeError):
        pass  # dicts or lists of changing shape, or a lone surrogate: as text, if they can be
    try:
        return pl.Series(name, [_as_text(value) for value in plain], dtype=pl.String)
    except (TypeError, UnicodeEncodeError) as error:
        raise TableError(f"{where}, column {name!r}: the cells can't be held together in one column: {error}") from None


def _plain(value: Any) -> Any:
    """A Python value in terms of None, bool, int, float, str, bytes, list and dict."""
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, float):
        return None if value != value else float(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in (value if isinstance(value, (list, tuple)) else sorted(value))]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, (str, int)):
        return str.__str__(value) if isinstance(value, str) else int(value)  # an enum's member as what it is
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, decimal.Decimal):
        return _plain(float(value))
    pandas = sys.modules.get("pandas")
    if pandas is not None and (value is pandas.NA or value is pandas.NaT):
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    image = sys.modules.get("PIL.Image")
    if image is not None and isinstance(value, image.Image):
        buffer = io.BytesIO()
        # PNG and TIFF keep every pixel; PNG knows no CMYK and no floats.
        value.save(buffer, format="TIFF" if value.mode in ("CMYK", "YCbCr", "LAB", "HSV", "F") else "PNG")
        return buffer.getvalue()
    if isinstance(value, pl.Series):
        return _plain(value.to_list())
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is not a kind of cell")


def _unify(values: list[Any]) -> tuple[Any, list[Any]]:
    """The polars type that holds all of the values, and the values in it."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.String, values
    if kinds == {bool}:
        return pl.Boolean, values
    if kinds == {int} and all(value is None or value in _INT64 for value in values):
        return pl.Int64, values
    if kinds == {float} or (kinds == {int, float} and all(type(v) is not int or abs(v) <= 2**53 for v in values)):
        return pl.Float64, [None if value is None else float(value) for value in values]
    if kinds == {bytes}:
        return pl.Binary, values
    media = all(value.keys() <= {"bytes", "path"} for value in values if isinstance(value, dict))
    if kinds == {dict}:
        return (MEDIA if media else None), values
    if media and kinds <= {dict, bytes, str} and (bytes in kinds or dict in kinds):
        return MEDIA, [_as_media(value) for value in values]
    if kinds == {list}:
        items = [item for value in values if value is not None for item in value]
        kind, items = _unify(items)
        unified = iter(items)
        lists = [None if value is None else [next(unified) for _ in value] for value in values]
        return (None if kind is None else pl.List(kind)), lists
    return pl.String, [_as_text(value) for value in values]


def _as_media(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": value}
    return {"path": value} if isinstance(value, str) else value


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
