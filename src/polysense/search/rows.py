"""What is asked of rows that are to be written: an id each, vectors with a direction, columns of one type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float32

from polysense.errors import SearchError
from polysense.search.segment import ROW_ID

__all__ = ["Ids", "Metadata", "as_ids", "as_metadata", "as_vectors"]

Ids: TypeAlias = Sequence[Any] | np.ndarray | pl.Series
"""Row ids: whole numbers below 2^63, or texts; one kind in an index."""

Metadata: TypeAlias = pl.DataFrame | Mapping[str, Any] | None


def as_ids(ids: Ids, kind: str | None) -> pl.Series:
    """Ids as a column.

    Args:
        ids: Each once.
        kind: What the index has, "int" or "str"; None: nothing yet.

    Raises:
        SearchError: An id is missing, stands twice, is no id, or is of the other kind.
    """
    try:
        found = pl.Series(ROW_ID, ids if isinstance(ids, (np.ndarray, pl.Series)) else list(ids), strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise SearchError("row ids must be all whole numbers (below 2^63) or all texts") from error
    if found.dtype.is_integer():
        try:
            found = found.cast(pl.Int64)
        except pl.exceptions.PolarsError as error:
            raise SearchError(f"row id {found.max()!r}: whole numbers below 2^63 only") from error
    elif found.dtype in (pl.Categorical, pl.Enum):
        found = found.cast(pl.String)
    elif len(found) == 0:
        found = found.cast(pl.String if kind == "str" else pl.Int64)
    elif found.dtype != pl.String:
        raise SearchError(f"row ids must be whole numbers or texts; found {found.dtype}")
    if found.null_count():
        raise SearchError(f"row {int(found.is_null().arg_max() or 0)} has no row id; every row needs one")
    here = "str" if found.dtype == pl.String else "int"
    if kind is not None and here != kind and len(found):
        names = {"int": "whole numbers", "str": "texts"}
        raise SearchError(f"the index's row ids are {names[kind]}; found {names[here]}, such as {found[0]!r}")
    twice = found.filter(found.is_duplicated())
    if len(twice):
        raise SearchError(f"row id {twice[0]!r} stands {int((found == twice[0]).sum())} times; each may stand once")
    return found.alias(ROW_ID)


def as_vectors(vectors: Any, ids: pl.Series, dim: int, *, unit: bool) -> Float32[np.ndarray, "rows dim"]:
    """Vectors as they are stored.

    Args:
        vectors: [rows, dim].
        ids: The rows', for messages.
        dim: What the index has.
        unit: Whether they are brought to length 1.

    Raises:
        SearchError: Another shape, or a vector that is not finite or is zero: it has no direction, and is no way to say
            that something is missing.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dim or array.dtype.kind not in "fiu":
        raise SearchError(
            f"expected vectors of {dim} numbers, [rows, {dim}]; found {list(array.shape)} of {array.dtype}"
        )
    if len(array) != len(ids):
        raise SearchError(f"found {len(array)} vectors for {len(ids)} row ids")
    # Squares of numbers beyond 1e19 overflow float32.
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(array, dtype=np.float32)
    for bad, what in (
        (~np.isfinite(narrow).all(axis=1), "holds NaN or infinity"),
        (~narrow.any(axis=1), "is zero, which has no direction"),
    ):
        if bad.any():
            first = int(np.argmax(bad))
            more = f" (and {int(bad.sum()) - 1} more)" if bad.sum() > 1 else ""
            raise SearchError(f"row id {ids[first]!r}{more}: its vector {what}; leave such rows out")
    if not unit:
        return narrow
    wide = narrow.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide, dtype=np.float32)


def as_queries(queries: Any, dim: int, *, unit: bool, k: int = 1) -> Float32[np.ndarray, "queries dim"]:
    """What is searched for, as vectors are stored.

    Args:
        queries: [queries, dim].
        dim: What the index has.
        unit: Whether they are brought to length 1.
        k: How many rows are asked for.

    Raises:
        SearchError: They are no such vectors, or k is no count.
    """
    if k < 1:
        raise SearchError(f"k must be at least 1; found {k}")
    numbers = pl.Series(ROW_ID, range(len(np.atleast_1d(queries))), dtype=pl.Int64)
    try:
        return as_vectors(queries, numbers, dim, unit=unit)
    except SearchError as error:
        raise SearchError(f"the queries, counted from 0: {error}") from None


def as_metadata(metadata: Metadata, ids: pl.Series, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Ids and metadata as a segment stores them; NaN is a missing cell.

    Args:
        metadata: A row for each id; columns that the index has not seen are new, those that are not here are missing.
        ids: The rows'.
        schema: The columns that the index has.

    Raises:
        SearchError: Another number of rows, a reserved name, or cells that do not fit the column's type.
    """
    if metadata is None:
        return ids.to_frame()
    try:
        frame = metadata if isinstance(metadata, pl.DataFrame) else pl.DataFrame(dict(metadata))
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise SearchError(f"the metadata are no table: {error}") from error
    if frame.width and len(frame) != len(ids):
        raise SearchError(f"found {len(frame)} rows of metadata for {len(ids)} row ids")
    if ROW_ID in frame.columns:
        raise SearchError(f"a metadata column may not be named {ROW_ID!r}: filters call the row's id so; rename it")
    columns = []
    for series in frame:
        if series.dtype == pl.Object:
            raise SearchError(f"column {series.name!r}: holds Python objects, which can't be stored")
        if series.dtype in (pl.Categorical, pl.Enum):
            series = series.cast(pl.String)
        if series.dtype.is_float():
            series = series.fill_nan(None)
        columns.append(_fitting(series, schema))
    return pl.DataFrame([ids, *columns])


def _fitting(series: pl.Series, schema: Mapping[str, Any]) -> pl.Series:
    kind = schema.get(series.name)
    if kind is None or pl.Null in (kind, series.dtype) or series.dtype == kind:
        return series
    if kind.is_numeric() and series.dtype.is_numeric():
        return series
    try:
        return series.cast(kind, strict=True)
    except pl.exceptions.PolarsError as error:
        raise SearchError(
            f"column {series.name!r} is {kind} in the index, and {series.dtype} here, such as "
            f"{series.drop_nulls()[0]!r}; bring it to {kind}, or rename it"
        ) from error
