"""A table's rows as vectors in an index, with its cells for filters and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from polysense.bundle import Bundle, load
from polysense.core.sample import Unreadable
from polysense.data.sources import Table, read_table, resolve
from polysense.errors import DecodeError, SearchError
from polysense.search import Backend, check_place, create_index, open_index
from polysense.search.manifest import Measured
from polysense.workflows.representation.embed import embeddings
from polysense.workflows.representation.fingerprint import check_model, fingerprint

__all__ = ["GRAPH_FROM", "Indexed", "index_table"]

GRAPH_FROM = 1_000_000
"""Rows from which a graph is built without being asked for: exact search takes about a fifth of a second there."""

# Rows between two acknowledged writes: 8 MiB of vectors of 256, and what is lost where indexing is interrupted.
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """What became of a table.

    Attributes:
        folder: The index: a folder, or an address on object storage.
        num_added: Rows that are new in it.
        num_replaced: Rows that were there.
        num_without: Rows of the table that lack the column; they are not in the index.
        num_rows: Rows in the index now.
        dim: Of the vectors.
        graph: What was measured of its graph, if it has one.
        unreadable: Cells that could not be read.
    """

    folder: Path | str
    num_added: int
    num_replaced: int
    num_without: int
    num_rows: int
    dim: int
    graph: Mapping[str, Any] | None = None
    unreadable: tuple[Unreadable, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        names = ("folder", "num_added", "num_replaced", "num_without", "num_rows", "dim", "graph")
        return {name: vars(self)[name] for name in names} | {"unreadable": [cell.as_dict() for cell in self.unreadable]}

    def text(self) -> str:
        """For people."""
        lines = [f"{self.folder}: {self.num_rows:,} rows, vectors of {self.dim}"]
        lines.append(f"  {self.num_added:,} rows added, {self.num_replaced:,} replaced")
        if self.num_without:
            lines.append(f"  {self.num_without:,} rows of the table have nothing to index, and are not in it")
        if self.graph is not None:
            lines.append(f"  graph: {Measured(**self.graph).text()}")
        return "\n".join(lines)


def index_table(
    bundle: Bundle | str | Path,
    source: Any,
    folder: str | Path,
    *,
    column: str | None = None,
    ids: str | None = None,
    add: bool = False,
    update: bool = False,
    graph: bool | None = None,
    root: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Indexed:
    """Writes a table's rows as vectors into an index.

    Rows are written in blocks, each durable when the next begins: where the work is interrupted, `update` goes on.

    Args:
        bundle: A bundle in a folder, or its folder. The index remembers it, and takes no other model's vectors.
        source: A table's path, a data frame, a list of dictionaries, ...
        folder: The index: a new folder, or with `add` or `update` an index. One named NAME.lance is a LanceDB table,
            also on object storage (s3://, gs://, az://).
        column: Which input column's vectors; None for all together, or for what the index has. An index has one kind.
        ids: The table's column that holds row ids; by default rows are counted from 0.
        add: Adds to an index that is there.
        update: Likewise, and replaces rows whose ids are there.
        graph: Whether to build a graph for approximate search; None: from a million rows on.
        root: The folder that media paths are relative to; by default the table's own.
        progress: Called with the rows that are done, and all.

    Raises:
        UserError: The bundle, the table or the index can't be read, or they do not belong together.
    """
    loaded = bundle if isinstance(bundle, Bundle) else load(bundle)
    table = read_table(source, root=root)
    if column is not None and column not in loaded.schema.names:
        raise SearchError(f"the model has no input column {column!r}; there are: {', '.join(loaded.schema.names)}")
    names = _row_ids(table, ids)
    metadata = _metadata(table, loaded)
    index: Backend | None = None
    if add or update:
        index = open_index(folder, writable=True)
        column = index.info.get("column") if column is None else column
    else:
        check_place(folder)  # before anything is embedded
    counts = {"added": 0, "replaced": 0, "without": 0}
    unreadable: list[Unreadable] = []
    try:
        if index is not None:
            check_model(index, loaded, column)
            if ids is None and index.id_type == "str":
                raise SearchError(f"{index.place}: its row ids are texts; name the column that holds them (--ids)")
            if not update:
                _check_new(index, names, ids)
        if column is not None:
            table.require(loaded.processor.columns[column].source, "column to index")
        for low in range(0, len(table), _ROWS_AT_ONCE):
            block = table.select(np.arange(low, min(low + _ROWS_AT_ONCE, len(table))))
            found = embeddings(loaded, block, only=column)
            there, vectors = found.of(column)
            unreadable.extend(found.unreadable)
            if index is None:
                index = create_index(folder, dim=found.vectors[column].shape[1], info=_info(loaded, column))
            chosen = low + there
            replaced = index.update(names.gather(chosen), vectors, metadata[chosen])
            counts["replaced"] += replaced
            counts["added"] += len(there) - replaced
            counts["without"] += len(block) - len(there)
            if progress is not None:
                progress(low + len(block), len(table))
        if index is None:
            raise SearchError(f"{table.name}: has no rows to index")
        if graph or (graph is None and len(index) >= GRAPH_FROM):
            index.build_graph()
        return Indexed(
            folder=folder if isinstance(folder, str) and "://" in folder else Path(folder),
            num_added=counts["added"],
            num_replaced=counts["replaced"],
            num_without=counts["without"],
            num_rows=len(index),
            dim=index.dim,
            graph=None if index.graph is None else index.graph.as_dict(),
            unreadable=tuple(unreadable),
        )
    finally:
        if index is not None:
            index.close()


def _info(bundle: Bundle, column: str | None) -> dict[str, Any]:
    assert bundle.folder is not None
    files = [part for part in bundle.processor.columns.values() if part.is_media]
    files.sort(key=lambda part: part.column.modality != "image")
    return {
        "bundle": str(bundle.folder.absolute()),
        "fingerprint": fingerprint(bundle),
        "column": column,
        "media": list(dict.fromkeys(part.source for part in files)),
    }


def _check_new(index: Backend, names: pl.Series, ids: str | None) -> None:
    """Before anything is embedded."""
    there = index.contains(names)
    if there.any():
        hint = "update replaces them (--update)" + ("; row ids may come from a column (--ids)" if ids is None else "")
        raise SearchError(
            f"{index.place}: row id {names.filter(there)[0]!r} is there already ({int(there.sum())} of {len(names)} "
            f"are): {hint}"
        )


def _row_ids(table: Table, column: str | None) -> pl.Series:
    if column is None:
        return pl.Series(table.rows)
    table.require(column, "column of row ids")
    found = table.frame.get_column(column)
    if not found.dtype.is_integer():
        if found.dtype != pl.String:
            raise SearchError(
                f"{table.name}, column {column!r}: row ids are texts or whole numbers; found {found.dtype}"
            )
        found = found.str.strip_chars()
        found = found.set(found == "", None)
    twice = ~found.is_first_distinct()
    for bad, what in ((found.is_null(), "has no row id"), (twice, "has the row id of another row")):
        if bad.any():
            where = int(bad.arg_true()[0])
            cell = "" if found[where] is None else f": {found[where]!r}"
            raise SearchError(f"{table.name}, column {column!r}: row {table.rows[where]} {what}{cell}")
    return found


def _metadata(table: Table, bundle: Bundle) -> pl.DataFrame:
    """The table's cells for filters and results: paths made absolute, numbers in texts made numbers, files left out."""
    media = {part.source for part in bundle.processor.columns.values() if part.is_media}
    texts = {part.source for part in bundle.processor.columns.values() if part.column.modality == "text"}
    columns = []
    for series in table.frame:
        if isinstance(series.dtype, pl.Struct) and "path" in (field.name for field in series.dtype.fields):
            series = series.struct.field("path").alias(series.name)
        if series.dtype == pl.Binary or series.dtype.is_nested():
            continue
        if series.dtype == pl.String:
            series = series.set(series.str.strip_chars() == "", None)
            if series.name in media:
                cells = [None if cell is None else _absolute(table.root, cell) for cell in series.to_list()]
                series = pl.Series(series.name, cells, dtype=pl.String)
            elif series.name not in texts:
                series = _numbers(series)
        columns.append(series)
    # What a frame without columns could not say: how many rows.
    return pl.DataFrame(columns) if columns else pl.DataFrame({"row_number": table.rows})


def _absolute(root: Path, cell: str) -> str:
    try:
        return str(resolve(root, cell))
    except DecodeError:
        return cell


def _numbers(series: pl.Series) -> pl.Series:
    """A column of texts that all spell numbers (not 007) as numbers: a CSV has nothing but texts."""
    found = series.drop_nulls().str.strip_chars()
    if not len(found) or found.str.contains(r"^[+-]?0\d").any():
        return series
    for pattern, kind in ((r"^[+-]?\d{1,18}$", pl.Int64), (r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", pl.Float64)):
        if found.str.contains(pattern).all():
            return series.str.strip_chars().cast(kind)
    return series
