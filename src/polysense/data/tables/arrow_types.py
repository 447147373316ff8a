"""Arrow columns in the types that polars reads, whatever they came in.

Arrow has more types than polars, and polars answers some of the others with a panic. So each column's type is looked at
before it is handed over: decimals of 256 bits become floats, views and maps lists, run-end encoded and extension types
what they stand for; unions and calendar intervals are read value by value. What can't be read is named.
"""

from __future__ import annotations

import functools
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import polars as pl

from polysense.core.error_text import first_line
from polysense.core.unicode_text import mended
from polysense.data.tables.delimited import check_names
from polysense.data.tables.limits import MAX_DEPTH, TableBudget
from polysense.data.tables.python_table import RawFrame
from polysense.data.values.cells import as_column
from polysense.errors import TableError

__all__ = ["from_arrow", "is_plain", "plain_type"]


def from_arrow(table: Any, label: str, budget: TableBudget | None = None) -> RawFrame:
    """A pyarrow table as a frame.

    Args:
        table: The table.
        label: What messages call it.
        budget: What its cells may take; None: whatever they take.

    Raises:
        TableError: The table contradicts itself, or a column can't be read; names it.
    """
    import pyarrow as pa

    names = check_names([mended(name) for name in table.column_names], label)
    columns, spelled = [], set()
    for name, column in zip(names, table.columns, strict=True):
        where = f"{label}, column {name!r}"
        try:
            plain = plain_type(column.type)
            # Offsets and indices that point outside end the process in libraries that trust them.
            column.validate(full=True)
            series, is_spelled = _series(name, column, plain, where, budget)
        except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, *_PYTHON_ERRORS) as error:
            if isinstance(error, TableError):
                raise
            raise TableError(
                f"{where}: its cells, of Arrow's type {_named(column.type)}, can't be read: {first_line(error, 300)}"
            ) from None
        spelled |= {name} if is_spelled else set()
        columns.append(series)
    return RawFrame(pl.DataFrame(columns), frozenset(spelled))


# What pyarrow and polars raise of types that they do not read is a NotImplementedError.
_PYTHON_ERRORS = (ValueError, TypeError, OverflowError, KeyError, NotImplementedError, MemoryError)


def _series(name: str, column: Any, plain: Any, where: str, budget: TableBudget | None) -> tuple[pl.Series, bool]:
    import pyarrow as pa

    column = _unwrapped(column, budget)
    if plain is None:
        return as_column(name, [_value(value) for value in column.to_pylist()], where)
    if plain != column.type:
        try:
            column = column.cast(plain)
            column.validate(full=True)  # not every cast of nested types is right
        except pa.ArrowException:
            return as_column(name, [_value(value) for value in column.to_pylist()], where)
    series = pl.from_arrow(column)
    assert isinstance(series, pl.Series), f"a {type(series).__name__} of one column"
    return series.alias(name), False


def is_plain(kind: Any) -> bool:
    """Whether polars reads a type as it is."""
    return bool(plain_type(kind) == kind)


def plain_type(kind: Any, depth: int = 0) -> Any:
    """The type that polars reads in the place of one; None if values have to be read one by one.

    Raises:
        ValueError: It is nested too deeply.
    """
    import pyarrow as pa
    import pyarrow.types as are

    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    inner = functools.partial(plain_type, depth=depth + 1)
    if isinstance(kind, pa.BaseExtensionType):
        return None if kind.extension_name == "arrow.uuid" else inner(kind.storage_type)
    if are.is_decimal256(kind):
        return pa.float64()
    if are.is_timestamp(kind) and kind.tz is not None and not _is_zone(kind.tz):
        return pa.timestamp(kind.unit, "UTC")  # the same instants
    if are.is_dictionary(kind):
        is_text = are.is_string(kind.value_type) or are.is_large_string(kind.value_type)
        return kind if is_text else inner(kind.value_type)
    if are.is_run_end_encoded(kind):
        return inner(kind.value_type)
    if are.is_map(kind):
        return _or_none(
            lambda key, item: pa.list_(pa.struct([("key", key), ("value", item)])),
            inner(kind.key_type),
            inner(kind.item_type),
        )
    if are.is_struct(kind):
        names = [field.name for field in kind.fields]
        if len(set(names)) < len(names):
            raise ValueError("a structure with two fields of the same name")
        return _or_none(
            lambda *parts: pa.struct(list(zip(names, parts, strict=True))),
            *(inner(field.type) for field in kind.fields),
        )
    if are.is_fixed_size_list(kind):
        if kind.list_size < 1:
            raise ValueError("lists of no items")  # by whose size some libraries divide
        return _or_none(lambda item: pa.list_(item, kind.list_size), inner(kind.value_type))
    if are.is_large_list(kind) or are.is_large_list_view(kind):
        return _or_none(pa.large_list, inner(kind.value_type))
    if are.is_list(kind) or are.is_list_view(kind):
        return _or_none(pa.list_, inner(kind.value_type))
    return None if are.is_union(kind) or are.is_interval(kind) else kind


def _or_none(make: Callable[..., Any], *parts: Any) -> Any:
    return None if any(part is None for part in parts) else make(*parts)


@functools.cache
def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _unwrapped(column: Any, budget: TableBudget | None) -> Any:
    """A column without the outer types that no cast takes off."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as are

    while True:
        kind = column.type
        if isinstance(kind, pa.BaseExtensionType) and kind.extension_name != "arrow.uuid":
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        elif are.is_run_end_encoded(kind):
            column = pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type)
        elif are.is_list_view(kind) or are.is_large_list_view(kind):
            # Many views may show the same items.
            lengths = pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64())
            if budget is not None:
                budget.check(8 * (pc.sum(lengths).as_py() or 0))
            is_large = are.is_large_list_view(kind)
            plain = pa.large_list(kind.value_type) if is_large else pa.list_(kind.value_type)
            return pa.chunked_array([_without_views(chunk, is_large) for chunk in column.chunks], plain)
        else:
            return column


def _without_views(array: Any, is_large: bool) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
    ends = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths)])
    if is_large:
        return pa.LargeListArray.from_arrays(ends, array.flatten(), mask=array.is_null())
    return pa.ListArray.from_arrays(ends.cast(pa.int32()), array.flatten(), mask=array.is_null())


def _value(value: Any) -> Any:
    """A value of `to_pylist` as a cell: calendar intervals as ISO text, identifiers as text."""
    import pyarrow as pa

    if isinstance(value, pa.MonthDayNano):
        seconds = f"{value.nanoseconds / 1e9:.9f}".rstrip("0").rstrip(".")
        return f"P{value.months}M{value.days}DT{seconds}S"
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    return {key: _value(item) for key, item in value.items()} if isinstance(value, dict) else value


def _named(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 80 else text[:77] + "..."
