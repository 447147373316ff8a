"""Search in an index by any column that its model reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from rich.cells import cell_len

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import named_path
from polysense.errors import BundleError, SearchError
from polysense.escaping import joined, visible
from polysense.reports.contact_sheet import Tile, contact_sheet
from polysense.search import Neighbors, VectorIndex
from polysense.workflows.representation.fingerprint import check_model
from polysense.workflows.representation.index import local_folder
from polysense.workflows.representation.queries import Item, parse_item, query_vector

__all__ = ["SearchResult", "search"]

_CELL_WIDTH = 40


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchResult:
    """The rows of an index that are nearest to a query.

    Attributes:
        items: The parts of the query.
        neighbors: The rows, nearest first.
        media: Metadata columns that hold files, images first.
    """

    items: tuple[Item, ...]
    neighbors: Neighbors
    media: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return {
            "query": [{"column": item.column, "value": item.value} for item in self.items],
            "approximate": self.neighbors.approximate,
            "neighbors": self.neighbors.as_json(),
        }

    def text(self) -> str:
        """A table: score, row id, files, and the other columns."""
        rows = self.neighbors
        if not len(rows):
            return "no rows"
        others = [name for name in rows.metadata.columns if name not in self.media]
        names = ["score", "row", *self.media, *others]
        lines = [list(map(visible, names))]
        for row_id, score, row in zip(rows.ids, rows.scores, rows.metadata.to_dicts() or [{}] * len(rows), strict=True):
            cells = [_short(row[name], whole=name in self.media) for name in (*self.media, *others)]
            lines.append([f"{score:.4f}", str(row_id), *cells])
        # Cells of a terminal: a Chinese character takes two, a combining accent none.
        widths = [max(cell_len(line[i]) for line in lines) for i in range(len(names))]
        return joined(
            "  ".join(cell + " " * (w - cell_len(cell)) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def save_contact_sheet(self, path: Path | str) -> None:
        """Draws the query and the rows as one image.

        Raises:
            SearchError: The file can't be written.
        """
        queries = [Tile(caption=f"query: {item.column}", image=item.file, text=item.value) for item in self.items]
        tiles = []
        rows = self.neighbors.metadata.to_dicts() or [{}] * len(self.neighbors)
        for row_id, score, row in zip(self.neighbors.ids, self.neighbors.scores, rows, strict=True):
            file = next((Path(row[name]) for name in self.media if isinstance(row[name], str)), None)
            # What says more than the image and the row id that stand beside it.
            cells = [cell for name, cell in row.items() if name not in self.media and cell not in (None, row_id)]
            words = " ".join(map(str, cells))
            tiles.append(Tile(caption=f"{score:.3f}  {row_id}  {words}", image=file, text=words))
        contact_sheet(named_path(path), queries, tiles)


def search(
    index: VectorIndex | str | Path,
    query: str | Sequence[str],
    k: int = 10,
    *,
    filter: str | None = None,
    bundle: Bundle | str | Path | None = None,
    weights: Sequence[float] | None = None,
    exact: bool | None = None,
    device: str = "auto",
) -> SearchResult:
    """Searches an index for the rows nearest to a text, an image, an audio file, or several of them together.

    Args:
        index: An index that `index_table` made, or its location.
        query: A text, or a file's path; COLUMN=VALUE says which of the model's columns reads it. Several are averaged
            as directions.
        k: How many rows.
        filter: An SQL condition on the table's columns, such as "label = 'cat' and year > 2000".
        bundle: The model; by default the one that the index remembers. It must be the same model.
        weights: One for each part of the query; a negative one leads away from it.
        exact: True: score every row. False: use the ANN index. None: the ANN index where its measured
            recall is 95% or more and it is faster.
        device: Where a model that is named by its folder runs: auto, cpu, cuda or mps.

    Raises:
        UserError: The index or the model can't be read, they do not belong together, or the query can't be read.
    """
    opened = VectorIndex.open(index) if isinstance(index, (str, Path)) else index
    if bundle is None and "bundle" not in opened.info:
        raise SearchError(f"{opened.location}: remembers no model; name the one that made its vectors (--bundle)")
    try:
        loaded = as_bundle(_remembered(opened) if bundle is None else bundle, device=device)
    except BundleError as error:
        if bundle is not None:
            raise
        raise SearchError(f"{opened.location}: its model is not where it was: {error}; name it (--bundle)") from error
    column = opened.info.get("column")
    check_model(opened, loaded, column)
    parts = [query] if isinstance(query, str) else list(query)
    items = tuple(parse_item(text, loaded, column) for text in parts)
    vector = query_vector(items, loaded, column, weights)
    (neighbors,) = opened.search(vector[None], k, filter=filter, exact=exact)
    media = tuple(name for name in opened.info.get("media", ()) if name in neighbors.metadata.columns)
    folder = local_folder(opened.location)
    if folder is not None and media:
        neighbors = replace(neighbors, metadata=_with_whole_paths(neighbors.metadata, media, folder))
    return SearchResult(items=items, neighbors=neighbors, media=media)


def _remembered(index: VectorIndex) -> Path:
    """The model's folder, which an index in a folder names as it reads from there."""
    folder = local_folder(index.location)
    path = Path(index.info["bundle"])
    return path if folder is None else Path(os.path.normpath(folder / path))


def _with_whole_paths(metadata: pl.DataFrame, media: Sequence[str], folder: Path) -> pl.DataFrame:
    """An index keeps paths as they read from its folder; who gets them stands elsewhere."""
    columns = []
    for name in media:
        cells = metadata[name].to_list()
        if metadata.schema[name] == pl.String:
            whole = [None if cell is None or "://" in cell else os.path.normpath(folder / cell) for cell in cells]
            columns.append(
                pl.Series(name, [new or old for new, old in zip(whole, cells, strict=True)], dtype=pl.String)
            )
    return metadata.with_columns(columns)


def _short(cell: Any, *, whole: bool) -> str:
    text = "" if cell is None else visible(" ".join(str(cell).split()))
    return text if whole or len(text) <= _CELL_WIDTH else text[: _CELL_WIDTH - 1] + "…"
