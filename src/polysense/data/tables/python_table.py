"""Rows and columns of Python values as a frame: what JSON files, lists of dicts and dicts of lists have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from polysense.core.unicode_text import mended
from polysense.data.tables.delimited import check_names
from polysense.data.tables.mapped_frame import mapped
from polysense.data.values.cells import as_column
from polysense.errors import TableError

__all__ = ["GrowingRows", "RawFrame", "add_row", "described", "from_columns", "from_mapping", "from_rows"]


_PACKED_ROWS = 16_384
_PLAIN: Mapping[type, Any] = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}


@dataclass(frozen=True, eq=False)
class RawFrame:
    """A frame as its container gave it.

    Attributes:
        frame: The cells.
        spelled: The columns in which a text may spell a list.
        delimiter: What separates the fields of a delimited file; None of others.
        key: The column that names each row where its container has names for rows.
    """

    frame: pl.DataFrame
    spelled: frozenset[str] = frozenset()
    delimiter: str | None = None
    key: str | None = None


def from_mapping(source: Mapping[Any, Any], label: str) -> RawFrame:
    """Columns by name.

    Raises:
        TableError: A column is no list, two have one name, they are not equally long, or a cell can't be held.
    """
    columns: dict[str, list[object]] = {}
    for key, cells in source.items():
        if isinstance(cells, (str, bytes, Mapping)) or not (isinstance(cells, (Sequence, np.ndarray, pl.Series))):
            raise TableError(
                f"{label}, column {str(key)!r}: found {described(cells)}, expected a list with a cell per row; a "
                f"single row is a list with one dict in it"
            )
        if str(key) in columns:
            raise _same_name(key, label)
        columns[str(key)] = list(cells)
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        result = ", ".join(f"{name!r} {length:,}" for name, length in list(lengths.items())[:20])
        raise TableError(f"{label}: the columns are not equally long: {result}")
    return from_columns(columns, max(lengths.values(), default=0), label)


def from_rows(source: Sequence[Any], label: str) -> RawFrame:
    """Rows, each a dict.

    Raises:
        TableError: A row is none, two of its keys are one name, or a cell can't be held.
    """
    columns: dict[str, list[object]] = {}
    for i, row in enumerate(source):
        if not isinstance(row, Mapping):
            raise TableError(f"{label}, row {i}: found {described(row)}, expected a dict with the row's cells")
        add_row(columns, row, i, f"{label}, row {i}")
    return from_columns(columns, len(source), label)


def add_row(columns: dict[str, list[object]], row: Mapping[Any, object], count: int, where: str) -> None:
    """Appends a row to columns that are shorter wherever earlier rows lacked the key.

    Args:
        columns: By name; changed.
        row: The row.
        count: Rows that came before.
        where: The row, for messages.

    Raises:
        TableError: Two of its keys are one name, such as 1 and "1".
    """
    for key, value in row.items():
        cells = columns.setdefault(str(key), [])
        if len(cells) > count:
            raise _same_name(key, where)
        cells.extend(None for _ in range(count - len(cells)))
        cells.append(value)


class GrowingRows:
    """Rows, each a dict, that come one after the other, as a frame.

    A million Python values take many times the room of a column of them, so those of some rows at once are packed as
    soon as they are of one plain type. A column whose packed parts differ is unpacked again, which loses nothing, and
    becomes what all its values together are.
    """

    def __init__(self) -> None:
        self.num_rows = 0
        self._names: dict[str, None] = {}
        self._packed: list[tuple[int, dict[str, pl.Series | list[object]]]] = []
        self._open: dict[str, list[object]] = {}
        self._num_open = 0

    @property
    def num_columns(self) -> int:
        """Different keys so far."""
        return len(self._names)

    def add(self, row: Mapping[Any, object], where: str) -> None:
        """Takes a row; arguments and errors as of `add_row`."""
        known = len(self._open)
        add_row(self._open, row, self._num_open, where)
        if len(self._open) > known:
            self._names.update(dict.fromkeys(self._open))
        self._num_open += 1
        self.num_rows += 1
        if self._num_open == _PACKED_ROWS:
            packed: dict[str, pl.Series | list[object]] = {}
            for key, cells in self._open.items():
                cells.extend(None for _ in range(self._num_open - len(cells)))
                packed[key] = _packed(cells)
            self._packed.append((self._num_open, packed))
            self._open, self._num_open = {}, 0

    def finish(self, label: str) -> RawFrame:
        """The frame; arguments and errors as of `from_columns`."""
        if not self._packed:
            return from_columns(self._open, self.num_rows, label)
        parts: list[tuple[int, dict[str, pl.Series | list[object]]]] = [*self._packed, (self._num_open, {**self._open})]
        names = check_names([mended(name) for name in self._names], label)
        columns, spelled = list[pl.Series](), set[str]()
        for key, name in zip(self._names, names, strict=True):
            own = [_filled(part.pop(key, []), num_rows) for num_rows, part in parts]
            kinds = {part.dtype for part in own if isinstance(part, pl.Series) and part.dtype != pl.Null}
            if len(kinds) == 1 and all(isinstance(part, pl.Series) for part in own):
                (kind,) = kinds
                columns.append(pl.concat([pl.Series(part, dtype=kind) for part in own]).alias(name))
                continue
            cells = [cell for part in own for cell in (part.to_list() if isinstance(part, pl.Series) else part)]
            column, is_spelled = as_column(name, cells, label)
            columns.append(column)
            spelled |= {name} if is_spelled else set()
        return RawFrame(mapped(pl.DataFrame(columns)), frozenset(spelled))


def _packed(cells: list[object]) -> pl.Series | list[object]:
    """Cells of one plain type as a column, which gives them back as they were; others as they are."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if float in kinds:  # NaN is missing, whatever else there is
        cells = [None if isinstance(cell, float) and cell != cell else cell for cell in cells]
        kinds = {type(cell) for cell in cells if cell is not None}
    kind = _PLAIN.get(next(iter(kinds))) if len(kinds) == 1 else None
    if not kinds:
        return pl.Series([None] * len(cells), dtype=pl.Null)
    if kind is None:
        return cells
    try:
        return pl.Series(cells, dtype=kind, strict=True)
    except (pl.exceptions.PolarsError, OverflowError, TypeError, UnicodeEncodeError):  # too large, or no whole text
        return cells


def _filled(part: pl.Series | list[object], num_rows: int) -> pl.Series | list[object]:
    """A column's cells in some rows, those missing that it lacks."""
    if isinstance(part, pl.Series):
        return part
    return _packed([*part, *(None for _ in range(num_rows - len(part)))])


def from_columns(columns: dict[str, list[object]], count: int, label: str) -> RawFrame:
    """Columns of at most `count` cells; those that lack some at the end are filled up with missing ones.

    Args:
        columns: By name; emptied, so that Python's values are freed column by column.
        count: The table's rows.
        label: The table, for messages.

    Raises:
        TableError: A cell can't be held.
    """
    names = check_names([mended(name) for name in columns], label)
    spelled: set[str] = set()

    def series() -> Iterator[pl.Series]:
        for key, name in zip(list(columns), names, strict=True):
            cells = columns.pop(key)
            cells.extend(None for _ in range(count - len(cells)))
            column, is_spelled = as_column(name, cells, label)
            if is_spelled:
                spelled.add(name)
            yield column

    frame = pl.DataFrame(list(series()))
    return RawFrame(frame, frozenset(spelled))


def _same_name(key: object, where: str) -> TableError:
    return TableError(f"{where}: found columns of the same name: {str(key)!r}; rename them")


def described(value: object) -> str:
    """A value for a message: its type, and how it begins."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
