"""A table: rows and named columns, what stands in for missing cells, and where each row and each file comes from.

A table of a million rows must not take a hundred times the memory of one of ten thousand. So whoever asks for a cell
gets a cell, whoever asks for a column gets one that is read in chunks, and a part of a large table is the numbers of
its rows.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from polysense.core.sample import SourceInfo
from polysense.data.joins.result import JoinResult
from polysense.data.tables.column_cells import ColumnCells
from polysense.data.tables.mapped_frame import FrameRows
from polysense.data.values.cells import clean, clean_all
from polysense.errors import TableError

__all__ = ["CellImputer", "Imputations", "Table", "near_names"]

_COPIED_CELLS = 1_000_000  # of a part of a table, which are copied; one of more cells has the numbers of its rows
_LISTED_ROWS = 100_000  # whose cells are a list
_CELLS_AT_ONCE, _FILES_AT_ONCE = 16_384, 64  # of a longer column, which may hold whole files


class _Ahead:
    """Cells of some rows of a frame, a column at a time, without polars' thread pool.

    Args:
        start: The first row.
        stop: The one after the last.
    """

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self._columns: dict[str, list[object] | None] = {}

    def value(self, held: FrameRows, i: int, column: str) -> object:
        """The cell of a row as the frame has it; read alone where cells are lists or files."""
        if column not in self._columns:
            series = held.frame.get_column(column)
            kind = series.dtype
            is_flat = not (kind.is_nested() or kind == pl.Binary)
            self._columns[column] = series[self.start : self.stop].to_list() if is_flat else None
        values = self._columns[column]
        return held.value(i, column) if values is None else values[i - self.start]


class _Frame:
    """A table's frame, which it is made with; of a part of a large table, a copy that is made when it is asked for."""

    def __get__(self, table: Table | None, _: type) -> pl.DataFrame:
        if table is None:
            raise AttributeError("frame")  # so that a dataclass knows that there is no default
        return table.held.copied()

    def __set__(self, table: Table, cells: pl.DataFrame | FrameRows) -> None:
        vars(table)["held"] = cells if isinstance(cells, FrameRows) else FrameRows(cells)


@dataclass(frozen=True, eq=False, kw_only=True)
class Imputations:
    """What stands in for missing cells of a table; cells that are there stay what they are.

    Beside the cells and not among them: what fills a cell then does not depend on its column's type, which is one of
    all rows, and what was measured and what was not can always be told apart.

    Attributes:
        by: Who made them: the same one need not do so again, another one begins with the cells that are there.
        cells: Per column, by the row's index in what was read, a plain value.
    """

    by: object
    cells: Mapping[str, Mapping[int, Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Rows and named columns.

    Attributes:
        name: What messages call it: the file's name, or "table".
        frame: The cells; typed columns, no Object columns. Of a part of a large table it is a copy, made anew each
            time; `column`, `cell` and `cells` make none of the whole.
        root: The folder that relative media paths start from.
        rows: int64 [len(frame)], each row's index in what was read.
        spelled: The columns in which a text may spell a list (`["a.png", "b.png"]`): those of delimited files.
        imputations: What stands in for missing cells; None as the table came.
        delimiter: What separates the fields of the file that it was read from; None of other sources.
        key: The column that names each row where the source has names for rows; None of other sources.
        remarks: What is to be said of how it was read, such as a column without a name.
        sides: Other tables, by name, that are joined to its rows or will be.
        joins: What was joined, by the table's name.
        before: Rows that came before these, where a table is split in time: what is known when these are predicted.
        roots: The folders that the media paths of joined columns start from, where it is not `root`.
    """

    name: str
    frame: _Frame = _Frame()
    root: Path
    rows: np.ndarray
    spelled: frozenset[str] = frozenset()
    imputations: Imputations | None = None
    delimiter: str | None = None
    key: str | None = None
    remarks: tuple[str, ...] = ()
    sides: Mapping[str, Table] = field(default_factory=dict)
    joins: Mapping[str, JoinResult] = field(default_factory=dict)
    roots: Mapping[str, Path] = field(default_factory=dict)
    before: Table | None = None

    def __len__(self) -> int:
        return len(self.held)

    @property
    def held(self) -> FrameRows:
        """What holds the cells: a frame, and of a part of a large table the numbers of its rows in the whole one's."""
        held: FrameRows = vars(self)["held"]
        return held

    def changed(self, **changes: Any) -> Table:
        """The table with other attributes, its frame not copied."""
        return replace(self, **{"frame": self.held, **changes})

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return self.held.frame.columns

    @property
    def schema(self) -> pl.Schema:
        """The columns' types by their names, made of all columns each time."""
        return self.held.frame.schema

    @property
    def width(self) -> int:
        """How many columns there are."""
        return self.held.frame.width

    def dtype(self, column: str) -> pl.DataType:
        """A column's type."""
        return self.held.frame.get_column(column).dtype

    def column(self, name: str) -> pl.Series:
        """A column's cells as the frame has them; of a part of a large table a copy."""
        return self.held.column(name)

    def has(self, column: str) -> bool:
        """Whether there is a column of that name."""
        return column in self.positions

    @functools.cached_property
    def positions(self) -> Mapping[str, int]:
        """Where each column stands, to be looked up for every cell: polars makes a list of the names each time."""
        return {name: i for i, name in enumerate(self.held.frame.columns)}

    def require(self, column: str, purpose: str = "column") -> None:
        """Checks that a column is there.

        Raises:
            TableError: It is not; lists the columns and the nearest names.
        """
        if not self.has(column):
            near, names = near_names(column, self.names), ", ".join(map(repr, self.names))
            raise TableError(f"{self.name}: no {purpose} {column!r}{near} (columns: {names or 'none'})")

    def cell(self, i: int, column: str, *, literal: bool = False) -> object:
        """One cell as plain Python; None if missing.

        Reads without polars' thread pool, so it is safe in a forked worker process.

        Args:
            i: Position in this table (not the original row index).
            column: The column's name.
            literal: Take "NA", "None" and their like for values (targets).
        """
        self.require(column)
        if self.imputations is not None and column in self.imputations.cells:
            imputed = self.imputations.cells[column].get(int(self.rows[i]))
            if imputed is not None:
                return imputed
        ahead: _Ahead | None = vars(self).get("ahead")
        if ahead is not None and ahead.start <= i < ahead.stop:
            value = ahead.value(self.held, i, column)
        else:
            value = self.held.value(i, column)
        return clean(value.to_list() if isinstance(value, pl.Series) else value, literal, column in self.spelled)

    def read_ahead(self, start: int, stop: int) -> None:
        """Has `cell` read the cells of some rows a column at a time, once it is asked for one of them.

        One by one they take several times as long. Files and lists, and parts of a table, are read as before.
        """
        vars(self)["ahead"] = None if self.held.positions is not None else _Ahead(start, stop)

    def cells(self, column: str, *, literal: bool = False) -> Sequence[object]:
        """All cells of a column; equal to `cell` on each position, much faster. A list, unless the table has more than
        100,000 rows: then they are read in chunks, each time that one goes through them."""
        self.require(column)
        if len(self) <= _LISTED_ROWS:
            return self._between(0, len(self), column, literal)
        kind = self.dtype(column)
        at_once = _FILES_AT_ONCE if kind.is_nested() or kind == pl.Binary else _CELLS_AT_ONCE
        return ColumnCells(
            len(self),
            lambda i: self.cell(i, column, literal=literal),
            lambda start, stop: self._between(start, stop, column, literal),
            at_once,
        )

    def _between(self, start: int, stop: int, column: str, literal: bool) -> list[object]:
        """The cells of a column in some rows one after the other."""
        result = clean_all(self.held.column(column, start, stop), literal, column in self.spelled)
        imputed = {} if self.imputations is None else self.imputations.cells.get(column, {})
        if not imputed:
            return result
        return [imputed.get(row, cell) for row, cell in zip(self.rows[start:stop].tolist(), result, strict=True)]

    def some_cells(self, positions: np.ndarray, column: str, *, literal: bool = False) -> list[object]:
        """The cells of a column at some positions, without imputed values; otherwise equal to `cell` on each."""
        self.require(column)
        return clean_all(self.held.some(positions, column), literal, column in self.spelled)

    @property
    def join_warnings(self) -> list[str]:
        """What of its joins may be otherwise than it was meant."""
        return [warning for result in self.joins.values() for warning in result.warnings()]

    def root_of(self, column: str) -> Path:
        """The folder that a column's media paths start from."""
        return self.roots.get(column, self.root)

    def source(self, i: int, column: str, file: str | None = None) -> SourceInfo:
        """Where the cell at position i comes from."""
        key = str(self.held.value(i, self.key)) if self.key is not None and self.has(self.key) else None
        return SourceInfo(table=self.name, row=int(self.rows[i]), column=column, file=file, key=key)

    def view(self, positions: np.ndarray) -> Table:
        """As `select`, but none of the cells is copied: for a few cells, while this table is there anyway."""
        return self.changed(frame=self.held.take(positions), rows=self.rows[positions])

    def select(self, positions: Sequence[int] | np.ndarray) -> Table:
        """Some of the rows, in that order; they keep their original indices."""
        chosen = np.asarray(positions, dtype=np.int64)
        part, is_small = self.held.take(chosen), len(chosen) * self.width <= _COPIED_CELLS
        return self.changed(frame=part.copied() if is_small else part, rows=self.rows[chosen])


@runtime_checkable
class CellImputer(Protocol):
    """What fills a table's missing cells before anything is learned from them or read of them.

    Attributes:
        reads: The table's columns that it looks at.
    """

    reads: tuple[str, ...]

    def fill(self, table: Table) -> Table:
        """The table with `imputations`, each row's from its own cells. A cell that is there is never among them."""


def near_names(name: str, choices: Sequence[str]) -> str:
    """The nearest of some names for a message, "; did you mean 'age'?"; "" where none is near."""
    folded = {choice.casefold().strip(): choice for choice in choices}
    near = difflib.get_close_matches(name.casefold().strip(), folded, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(folded[match]) for match in near)}?" if near else ""
