"""Checks of rows that are to be written: an id each, vectors with a direction, columns of one type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float32

from polysense.errors import SearchError
from polysense.search.table import ROW_ID, VECTOR, Ids

__all__ = ["Metadata", "as_ids", "as_metadata", "as_queries", "as_vectors"]

Metadata: TypeAlias = pl.DataFrame | Mapping[str, object] | None
"""A row for each id."""

_ID_NAMES = {"int": "whole numbers", "str": "texts"}


def as_ids(ids: Ids, kind: str | None) -> pl.Series:
    """Ids as a column; SearchError where one is missing, stands twice, is no id, or is not of the index's kind.

    That is "int" or "str"; None where it never had a row.
    """
    try:
        column = pl.Series(ROW_ID, ids if isinstance(ids, (np.ndarray, pl.Series)) else list(ids), strict=True)
        if column.dtype.is_integer():
            column = column.cast(pl.Int64)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise SearchError("row ids must be all whole numbers (below 2^63) or all texts") from error
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if len(column) == 0:
        return pl.Series(ROW_ID, [], dtype=pl.String if kind == "str" else pl.Int64)
    if column.dtype not in (pl.Int64, pl.String):
        raise SearchError(f"row ids must be whole numbers or texts; found {column.dtype}")
    if column.null_count():
        raise SearchError(f"row {int(column.is_null().arg_max() or 0)} has no row id; every row needs one")
    here = "str" if column.dtype == pl.String else "int"
    if kind is not None and here != kind:
        raise SearchError(f"the index's row ids are {_ID_NAMES[kind]}; found {_ID_NAMES[here]}, such as {column[0]!r}")
    twice = column.filter(column.is_duplicated())
    if len(twice):
        raise SearchError(f"row id {twice[0]!r} stands {int((column == twice[0]).sum())} times; each may stand once")
    return column.alias(ROW_ID)


def as_vectors(vectors: np.ndarray, ids: pl.Series, dim: int, *, unit: bool) -> Float32[np.ndarray, "rows dim"]:
    """Vectors as they are stored, at length 1 if `unit`; SearchError, with the row's id, where one is not finite, is
    zero, which has no direction, or is not of the index's `dim`."""
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dim or array.dtype.kind not in "fiu":
        given = f"{list(array.shape)} of {array.dtype}"
        raise SearchError(f"expected vectors of {dim} numbers, [rows, {dim}]; found {given}")
    if len(array) != len(ids):
        raise SearchError(f"found {len(array)} vectors for {len(ids)} row ids")
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(array, dtype=np.float32)
    for bad, problem in (
        (~np.isfinite(narrow).all(axis=1), "holds NaN or infinity"),
        (~narrow.any(axis=1), "is zero, which has no direction"),
    ):
        if bad.any():
            more = f" (and {int(bad.sum()) - 1} more)" if bad.sum() > 1 else ""
            raise SearchError(f"row id {ids[int(np.argmax(bad))]!r}{more}: its vector {problem}; leave such rows out")
    if not unit:
        return narrow
    wide = narrow.astype(np.float64)  # squares of numbers beyond 1e19 overflow float32
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), dtype=np.float32)


def as_queries(queries: np.ndarray, dim: int, *, unit: bool, k: int = 1) -> Float32[np.ndarray, "queries dim"]:
    """Queries as vectors are stored; SearchError where they are no such vectors, or k is no count."""
    if k < 1:
        raise SearchError(f"k must be at least 1; found {k}")
    numbers = pl.Series(ROW_ID, range(len(np.atleast_1d(queries))), dtype=pl.Int64)
    try:
        return as_vectors(queries, numbers, dim, unit=unit)
    except SearchError as error:
        raise SearchError(f"the queries, counted from 0: {error}") from None


def as_metadata(metadata: Metadata, ids: pl.Series, table: pl.DataFrame) -> pl.DataFrame:
    """Ids and metadata as they are stored; SearchError where a name or a cell's type does not fit.

    NaN is a missing cell. A new column without any cell is left out, for it has no type.

    Args:
        metadata: A row for each id; columns that the index does not have are new, those that are not here are missing.
        ids: The rows'.
        table: A frame with the index's columns.
    """
    try:
        frame = metadata if isinstance(metadata, pl.DataFrame) else pl.DataFrame(dict(metadata or {}))
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise SearchError(f"the metadata are no table: {error}") from error
    if frame.width and len(frame) != len(ids):
        raise SearchError(f"found {len(frame)} rows of metadata for {len(ids)} row ids")
    columns = [ids]
    for series in frame:
        name = series.name
        if name in (ROW_ID, VECTOR) or not name or name.startswith("_") or set(name) & set(".`"):
            raise SearchError(
                f"a metadata column may not be named {name!r}: {ROW_ID!r} and {VECTOR!r} are taken, and LanceDB takes "
                "no name with '.' or '`' or that begins with '_'; rename it"
            )
        if series.dtype == pl.Object:
            raise SearchError(f"column {name!r}: holds Python objects, which can't be stored")
        if series.dtype in (pl.Categorical, pl.Enum):
            series = series.cast(pl.String)
        if series.dtype.is_float():
            series = series.fill_nan(None)
        if name in table.columns:
            columns.append(_fitting(series, table))
        elif series.dtype != pl.Null:
            columns.append(series)
    return pl.DataFrame(columns)


def _fitting(series: pl.Series, table: pl.DataFrame) -> pl.Series:
    """A column in the index's type, without loss."""
    dtype = table.schema[series.name]
    if series.dtype == dtype:
        return series
    try:
        cast = series.cast(dtype, strict=True)
        if not series.dtype.is_numeric() or not (cast != series).any():
            return cast
    except pl.exceptions.PolarsError:
        pass
    raise SearchError(
        f"column {series.name!r} is {dtype} in the index, and {series.dtype} here, such as {series.drop_nulls()[0]!r}; "
        f"a column keeps its type: bring it to {dtype}, rename it, or index the table again"
    )
