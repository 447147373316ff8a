"""One cell as plain Python, and plain Python values as one polars column.

Both directions are in one place because they must agree: whatever container a table came in, a cell reads the same.
Everything is held in a typed polars column, never in an Object column: those can't be sent to a worker process. The
price is that a column of mixed scalars becomes text (1 and "1" are then the same class).

A text is a text, even one that looks like a list: an answer of a chat bot may be a JSON array. Only where nothing but
text can stand, in a delimited file, a text may spell a list; such columns are called `spelled`. So are those of mixed
texts and lists, which are held as text.
"""

from __future__ import annotations

import ast
import datetime
import decimal
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from polysense.core.logs import get_logger, remark
from polysense.core.unicode_text import mended
from polysense.data.tables.limits import MAX_DEPTH
from polysense.errors import TableError

__all__ = ["MEDIA", "MISSING", "SHEET_ERRORS", "as_column", "as_series", "clean", "clean_all", "normalize"]

logger = get_logger("polysense.data.values.cells")

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

_MISSING, _LITERALLY_MISSING = frozenset({"", *MISSING}), frozenset({"", *SHEET_ERRORS})
_SIMPLE = frozenset({type(None), str, int, bool, bytes})
_INT64 = range(-(2**63), 2**63)
# A panic of polars is no Exception, but what it says is that the values can't be held.
_POLARS_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def clean(value: object, literal: bool = False, spelled: bool = False) -> object:
    """A cell as plain Python: None if missing, else a str, int, float, bool, bytes, list or dict.

    Args:
        value: As polars gives it.
        literal: Take "NA", "None" and their like for text. Targets are read so: NA may be Namibia, and "none" a class.
        spelled: Whether a text may spell a list ('["a.png", "b.png"]', or the same as Python spells it), which becomes
            that list; items stand as they are.

    Returns:
        A string as it stands, whitespace included.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text or (text in SHEET_ERRORS if literal else text in MISSING):
            return None
        if not spelled or text[0] != "[" or text[-1] != "]":
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


def clean_all(series: pl.Series, literal: bool = False, spelled: bool = False) -> list[object]:
    """All cells of a column; equal to `clean` on each, but vectorized where that is the same."""
    kind = series.dtype
    if kind.is_integer() or kind in (pl.Boolean, pl.Binary):
        return series.to_list()
    if kind.is_float():
        return series.fill_nan(None).to_list()
    if kind == pl.String:  # twice as fast as a call for each
        missing = _LITERALLY_MISSING if literal else _MISSING
        texts = series.to_list()
        if not spelled:
            return [None if text is None or text.strip() in missing else text for text in texts]
        return [
            None if text is None or text.strip() in missing else clean(text, literal, True) if "[" in text else text
            for text in texts
        ]
    return [clean(value, literal, spelled) for value in series.to_list()]


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


def normalize(frame: pl.DataFrame, where: str) -> tuple[pl.DataFrame, frozenset[str]]:
    """A frame whose cells all read as plain Python, and which of its columns are spelled though they were not.

    Dates and times become ISO text, decimals and durations (in seconds) floats, categoricals text, fixed-size arrays
    lists, in lists and structures too, and Object columns whatever `as_column` makes of them.
    """
    columns, spelled = [], set()
    for series in frame:
        if series.dtype == pl.Object:
            series, is_spelled = as_column(series.name, series.to_list(), where)
            spelled |= {series.name} if is_spelled else set()
        elif series.dtype == pl.Null:
            series = series.cast(pl.String)
        else:
            plain = _as_plain(series.dtype, pl.col(series.name))
            series = series if plain is None else series.to_frame().select(plain.alias(series.name)).to_series()
        columns.append(series)
    return pl.DataFrame(columns), frozenset(spelled)


_DAY = 86_400
_FIRST_SECOND, _LAST_SECOND = -719_161 * _DAY, 2_932_896 * _DAY - 1  # of the years 1 to 9999, less a day of time zones
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def _as_plain(kind: Any, cells: pl.Expr) -> pl.Expr | None:
    """Cells that read as plain Python; None if they do already."""
    if isinstance(kind, pl.BaseExtension):
        storage = cells.ext.storage()
        inner = _as_plain(kind.ext_storage(), storage)
        return storage if inner is None else inner
    if isinstance(kind, (pl.Categorical, pl.Enum)):
        return cells.cast(pl.String)
    if isinstance(kind, pl.Decimal):
        return cells.cast(pl.Float64)
    if isinstance(kind, pl.Duration):
        return cells.dt.total_microseconds() / 1e6
    if isinstance(kind, pl.Array):
        items = cells.arr.to_list()
        inner = _as_plain(kind.inner, pl.element())
        return items if inner is None else items.list.eval(inner)
    if isinstance(kind, pl.List):
        inner = _as_plain(kind.inner, pl.element())
        return None if inner is None else cells.list.eval(inner)
    if isinstance(kind, pl.Struct):
        parts = {field.name: _as_plain(field.dtype, pl.field(field.name)) for field in kind.fields}
        changed = [part.alias(name) for name, part in parts.items() if part is not None]
        return cells.struct.with_fields(*changed) if changed else None
    return _spelled_times(kind, cells) if kind.is_temporal() else None


def _spelled_times(kind: Any, cells: pl.Expr) -> pl.Expr:
    """Times as ISO text. A damaged one, which is in no calendar, is told as what it is, so that its cell is listed."""
    per_second = _PER_SECOND[kind.time_unit] if isinstance(kind, pl.Datetime) else 1
    first, last = _FIRST_SECOND * per_second, _LAST_SECOND * per_second
    if kind == pl.Date:
        first, last = first // _DAY, last // _DAY
    if kind == pl.Time:
        first, last = 0, _DAY * 10**9 - 1
    value = cells.to_physical()
    sound = pl.when(value.is_between(first, last)).then(cells).otherwise(None)
    return pl.coalesce(sound.dt.to_string("iso"), pl.format("{} is no time", value))


def as_series(name: str, values: Sequence[object], where: str) -> pl.Series:
    """The column of `as_column` alone."""
    return as_column(name, values, where)[0]


def as_column(name: str, values: Sequence[object], where: str) -> tuple[pl.Series, bool]:
    """A typed column from Python values, and whether it is spelled.

    Args:
        name: The column's name.
        values: Scalars, bytes, lists, dicts, numpy values, paths, dates or Pillow images; None, NaN and pandas' NA
            are missing. A column of mixed scalars becomes text, and so does one of scalars and lists, spelled.
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
        try:
            return _held(name, plain)
        except UnicodeEncodeError:
            return _held(name, _mended_cells(name, plain, where))
    except (TypeError, ValueError, *_POLARS_ERRORS) as error:
        raise TableError(f"{where}, column {name!r}: the cells can't be held together in one column: {error}") from None


def _held(name: str, plain: list[Any]) -> tuple[pl.Series, bool]:
    """Plain values as a column; errors are those of polars and JSON."""
    kinds = {type(value) for value in plain if value is not None}
    if list in kinds and len(kinds) > 1 and dict not in kinds and bytes not in kinds:
        return pl.Series(name, [_spelled(value) for value in plain], dtype=pl.String), True
    try:
        kind, unified = _unify(plain)
        return pl.Series(name, unified, dtype=kind, strict=True), False
    except UnicodeEncodeError:
        raise
    except (*_POLARS_ERRORS, TypeError, OverflowError):
        pass  # dicts or lists of changing shape: as text, if they can be
    return pl.Series(name, [_as_text(value) for value in plain], dtype=pl.String), False


def _spelled(value: Any) -> str | None:
    """A cell of a spelled column: a text that looks like a list becomes a list of itself."""
    if isinstance(value, str) and isinstance(clean(value, literal=True, spelled=True), list):
        return json.dumps([value], ensure_ascii=False)
    return _as_text(value)


def _mended_cells(name: str, plain: list[Any], where: str) -> list[Any]:
    """Cells that UTF-8 can hold, of which those that could not be are named in the log."""
    rows = []
    results = []
    for row, value in enumerate(plain):
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            rows.append(row)
            value = _mended(value)
        results.append(value)
    remark(
        logger,
        "%s, row %d, column %r: the text holds half a character (a lone surrogate, as of an emoji that was cut), which "
        "became U+FFFD%s",
        where,
        rows[0] if rows else 0,
        name,
        f"; so did those of {len(rows) - 1:,} more rows: {', '.join(map(str, rows[1:10]))}" if len(rows) > 1 else "",
    )
    return results


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    return _with_keys(value, mended, _mended) if isinstance(value, dict) else value


def _with_keys(
    value: Mapping[Any, Any], key_of: Callable[[Any], str], value_of: Callable[[Any], Any]
) -> dict[str, Any]:
    """A dict with other keys and values; ValueError where two keys become one, for one of the values would be lost."""
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = key_of(key)
        if name in result:
            raise ValueError(f"two of its keys are {name!r}; rename one")
        result[name] = value_of(item)
    return result


def _plain(value: Any, depth: int = 0) -> Any:
    """A Python value in terms of None, bool, int, float, str, bytes, list and dict."""
    if type(value) in _SIMPLE:
        return value
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep, or within itself")
    if isinstance(value, float):
        return None if value != value else float(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in (value if isinstance(value, (list, tuple)) else sorted(value))]
    if isinstance(value, Mapping):
        return _with_keys(value, str, lambda item: _plain(item, depth + 1))
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist(), depth)
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
        return _plain(value.to_list(), depth)
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
