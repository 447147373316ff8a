"""A table's rows as vectors in an index, with its cells for filters and results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import named_path, relative_path
from polysense.core.json import json_object
from polysense.core.registry import modality
from polysense.core.sample import Unreadable
from polysense.data.media.paths import resolve
from polysense.data.tables.sources import Table
from polysense.errors import DecodeError, SearchError
from polysense.escaping import joined
from polysense.search import RecallReport, VectorIndex
from polysense.workflows.representation.embed import embeddings
from polysense.workflows.representation.fingerprint import check_model, fingerprint

__all__ = ["ANN_FROM", "IndexResult", "index_table", "local_folder"]

ANN_FROM = 250_000
"""Rows from which an ANN index is built unless it is refused: exact search takes some 40 ms there, an ANN index 5."""

# Rows between two commits: 8 MiB of vectors of 256, and the most that is lost where indexing is interrupted.
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class IndexResult:
    """The counts of rows that were written into an index.

    Attributes:
        location: The index: a folder, or an address on object storage.
        num_added: Rows that are new in it.
        num_replaced: Rows that were in it before.
        num_missing: Rows of the table that lack the column; they are not in the index.
        num_rows: Rows in the index now.
        dim: The vectors' length.
        ann: The measured recall of its ANN index, if it has one.
        unreadable: Cells that could not be read.
    """

    location: Path | str
    num_added: int
    num_replaced: int
    num_missing: int
    num_rows: int
    dim: int
    ann: RecallReport | None = None
    unreadable: tuple[Unreadable, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return json_object(self, unreadable=[cell.as_dict() for cell in self.unreadable])

    def text(self) -> str:
        """For people."""
        lines = [f"{self.location}: {self.num_rows:,} rows, vectors of {self.dim}"]
        lines.append(f"  {self.num_added:,} rows added, {self.num_replaced:,} replaced")
        if self.num_missing:
            lines.append(f"  {self.num_missing:,} rows of the table have nothing to index, and are not in it")
        if self.ann is not None:
            lines.append(f"  ANN index: {self.ann.text()}")
        return joined(lines)


def index_table(
    bundle: Bundle | str | Path,
    source: Any,
    location: str | Path,
    *,
    column: str | None = None,
    ids: str | None = None,
    add: bool = False,
    update: bool = False,
    ann: bool | None = None,
    root: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> IndexResult:
    """Writes a table's rows as vectors into an index.

    Rows are written in blocks, each stored when the next begins: where the work is interrupted, `update` resumes it.

    Args:
        bundle: A bundle in a folder, or its folder. The index remembers it, and takes no other model's vectors.
        source: A table's path, a data frame, a list of dictionaries, ...
        location: The index: a new folder or address on object storage (s3://, gs://, az://), or with `add` or `update`
            an index.
        column: Which input column's vectors; None for all together, or for what the index has. An index has one kind.
        ids: The table's column that holds row ids; by default rows are counted from 0.
        add: Adds to an existing index.
        update: Likewise, and replaces rows whose ids are in it.
        ann: Whether to build an ANN index for approximate search; None: from `ANN_FROM` rows on.
        root: The folder that media paths are relative to; by default the table's own.
        progress: Called with the rows that are done, and all.

    Raises:
        UserError: The bundle, the table or the index can't be read, or they do not belong together.
    """
    folder = local_folder(location)
    loaded = as_bundle(bundle)
    table = loaded.read(source, root=root, also=[] if ids is None else [ids])
    if column is not None and column not in loaded.schema.names:
        raise SearchError(f"the model has no input column {column!r}; there are: {', '.join(loaded.schema.names)}")
    names = _row_ids(table, ids)
    metadata = _metadata(table, loaded, folder)
    index: VectorIndex | None = None
    if add or update:
        index = VectorIndex.open(location, writable=True)
        column = index.info.get("column") if column is None else column
    else:
        VectorIndex.check_free(location)  # before anything is embedded
    num_added = num_replaced = num_missing = 0
    unreadable: list[Unreadable] = []
    try:
        if index is not None:
            check_model(index, loaded, column)
            if ids is None and index.id_type == "str":
                raise SearchError(f"{index.location}: its row ids are texts; name the column that holds them (--ids)")
            if not update:
                _check_new(index, names, ids)
        if column is not None:
            table.require(loaded.processor.columns[column].source, "column to index")
        for low in range(0, len(table), _ROWS_AT_ONCE):
            block = table.select(np.arange(low, min(low + _ROWS_AT_ONCE, len(table))))
            embedded = embeddings(loaded, block, only=column)
            there, vectors = embedded.of(column)
            unreadable.extend(embedded.unreadable)
            if index is None:
                index = VectorIndex.create(
                    location, dim=embedded.vectors[column].shape[1], info=_info(loaded, column, folder)
                )
            chosen = low + there
            replaced = index.update(names.gather(chosen), vectors, metadata[chosen])
            num_replaced += replaced
            num_added += len(there) - replaced
            num_missing += len(block) - len(there)
            if progress is not None:
                progress(low + len(block), len(table))
        if index is None:
            raise SearchError(f"{table.name}: has no rows to index")
        if ann or (ann is None and len(index) >= ANN_FROM):
            index.build_ann()
        return IndexResult(
            location=location if isinstance(location, str) and "://" in location else Path(location),
            num_added=num_added,
            num_replaced=num_replaced,
            num_missing=num_missing,
            num_rows=len(index),
            dim=index.dim,
            ann=index.ann,
            unreadable=tuple(unreadable),
        )
    finally:
        if index is not None:
            index.close()


def _info(bundle: Bundle, column: str | None, folder: Path | None) -> dict[str, Any]:
    assert bundle.folder is not None
    files = [part for part in bundle.processor.columns.values() if part.is_media]
    files.sort(key=lambda part: modality(part.column.modality).rank)
    return {
        "bundle": _from(folder, bundle.folder.absolute()),
        "fingerprint": fingerprint(bundle),
        "column": column,
        "media": list(dict.fromkeys(part.source for part in files)),
    }


def _check_new(index: VectorIndex, names: pl.Series, ids: str | None) -> None:
    """Before anything is embedded."""
    there = index.contains(names)
    if there.any():
        hint = "update replaces them (--update)" + ("; row ids may come from a column (--ids)" if ids is None else "")
        raise SearchError(
            f"{index.location}: row id {names.filter(there)[0]!r} is there already ({int(there.sum())} of {len(names)} "
            f"are): {hint}"
        )


def _row_ids(table: Table, column: str | None) -> pl.Series:
    if column is None:
        return pl.Series(table.rows)
    table.require(column, "column of row ids")
    ids = table.column(column)
    if not ids.dtype.is_integer():
        if ids.dtype != pl.String:
            raise SearchError(f"{table.name}, column {column!r}: row ids are texts or whole numbers; found {ids.dtype}")
        ids = ids.str.strip_chars()
        ids = ids.set(ids == "", None)
    twice = ~ids.is_first_distinct()
    for bad, what in ((ids.is_null(), "has no row id"), (twice, "has the row id of another row")):
        if bad.any():
            where = int(bad.arg_true()[0])
            cell = "" if ids[where] is None else f": {ids[where]!r}"
            raise SearchError(f"{table.name}, column {column!r}: row {table.rows[where]} {what}{cell}")
    return ids


def _metadata(table: Table, bundle: Bundle, folder: Path | None) -> pl.DataFrame:
    """The table's cells for filters and results: paths as they read from the index, numbers in texts made numbers,
    files left out."""
    media = {part.source for part in bundle.processor.columns.values() if part.is_media}
    texts = {part.source for part in bundle.processor.columns.values() if modality(part.column.modality).is_prose}
    columns = []
    for series in table.frame:
        if isinstance(series.dtype, pl.Struct) and "path" in (field.name for field in series.dtype.fields):
            series = series.struct.field("path").alias(series.name)
        if series.dtype == pl.Binary or series.dtype.is_nested():
            continue
        if series.dtype == pl.String:
            series = series.set(series.str.strip_chars() == "", None)
            if series.name in media:
                cells = [
                    None if cell is None else _file(table.root_of(series.name), cell, folder)
                    for cell in series.to_list()
                ]
                series = pl.Series(series.name, cells, dtype=pl.String)
            elif series.name not in texts:
                series = _numbers(series)
        columns.append(series)
    # What a frame without columns could not say: how many rows.
    return pl.DataFrame(columns) if columns else pl.DataFrame({"row_number": table.rows})


def _file(root: Path, cell: str, folder: Path | None) -> str:
    try:
        return _from(folder, resolve(root, cell))
    except DecodeError:
        return cell


def _from(folder: Path | None, path: Path) -> str:
    """A path as it reads from a folder; from none, as it is."""
    return str(path) if folder is None else relative_path(path, folder)


def local_folder(location: Path | str) -> Path | None:
    """The folder that an index is; None for one on object storage."""
    return None if "://" in str(location) else named_path(location, "the index").expanduser().absolute()


def _numbers(series: pl.Series) -> pl.Series:
    """A column of texts that all spell numbers (not 007) as numbers: a CSV has nothing but texts."""
    texts = series.drop_nulls().str.strip_chars()
    if not len(texts) or texts.str.contains(r"^[+-]?0\d").any():
        return series
    for pattern, kind in ((r"^[+-]?\d{1,18}$", pl.Int64), (r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", pl.Float64)):
        if texts.str.contains(pattern).all():
            return series.str.strip_chars().cast(kind)
    return series
