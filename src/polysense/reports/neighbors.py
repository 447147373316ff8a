"""Show search results: cells side by side, the query and its nearest neighbors, and the page of a run's neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from polysense.core.preview import CellPreview
from polysense.core.sample_output import Nearest
from polysense.core.schema import Column
from polysense.data.batches.dataset import TableDataset
from polysense.reports.environment import render
from polysense.reports.numerals import number
from polysense.reports.previews import preview_cell

__all__ = ["Search", "Tile", "neighbor_tiles", "query_tile", "render_neighbors"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Tile:
    """One cell.

    Attributes:
        preview: What it holds.
        caption: What is said below, in a line or two.
        mark: "query", "correct" (belongs to the query), "missed" (belongs to it and is not among the nearest) or "".
    """

    preview: CellPreview
    caption: str
    mark: Literal["query", "correct", "missed", ""] = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Search:
    """The searches in one direction.

    Attributes:
        title: From which column to which.
        note: How well that goes over all rows.
        rows: Per query its tiles, the query first.
    """

    title: str
    note: str
    rows: Sequence[Sequence[Tile]]


def render_neighbors(title: str, searches: Sequence[Search], note: str) -> str:
    """The whole page of a run as HTML, below a note that says which rows these are."""
    return render("neighbors.html.j2", title=title, searches=searches, note=note)


def query_tile(dataset: TableDataset, column: Column, row: int) -> Tile:
    """The cell that is searched with, of the row at a position in the data set."""
    return Tile(preview=_cell(dataset, column, row), caption=f"row {dataset.table.rows[row]}", mark="query")


def neighbor_tiles(dataset: TableDataset, nearest: Nearest) -> list[Tile]:
    """The nearest cells, best first, and the correct one where it is not among them."""
    column = dataset.schema.column(nearest.column)
    tiles: list[Tile] = []
    pairs = list(zip(nearest.rows, nearest.similarities, nearest.correct, strict=True))
    for row, similarity, is_correct in pairs:
        caption = f"row {dataset.table.rows[row]}\n{number(similarity)}"
        tiles.append(Tile(preview=_cell(dataset, column, row), caption=caption, mark="correct" if is_correct else ""))
    if not any(is_correct for _, _, is_correct in pairs):
        row = nearest.best_correct
        caption = f"row {dataset.table.rows[row]}\nrank {nearest.rank:g} of {nearest.num_candidates:,}"
        tiles.append(Tile(preview=_cell(dataset, column, row), caption=caption, mark="missed"))
    return tiles


def _cell(dataset: TableDataset, column: Column, row: int) -> CellPreview:
    return preview_cell(column, dataset.table, row, dataset[row])
