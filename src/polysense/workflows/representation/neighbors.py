"""What columns of a shared space find, shown: a run's neighbours.html and map.html, and the tiles of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polysense.bundle import Bundle
from polysense.core.files import write_text
from polysense.core.modality import Task
from polysense.core.random import permutation
from polysense.core.schema import Column, Target
from polysense.data.dataset import TableDataset
from polysense.data.sources import Table
from polysense.evaluation.cells import Input
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.neighbours import Nearest, can_look, nearest
from polysense.evaluation.page import number
from polysense.evaluation.tiles import Search, Tile, render_neighbours
from polysense.tasks.retrieval.metrics import directions
from polysense.workflows.representation.embedding_map import draw_map
from polysense.workflows.shown import shown_cell

__all__ = ["found_tiles", "write_space_pages"]

_QUERIES = 10
_FOUND = 5
_MAPPED_ROWS = 250  # two columns of them are 500 points: t-SNE takes about 5 s on a slow core


def write_space_pages(
    bundle: Bundle, table: Table, evaluation: Evaluation, folder: Path, split: str, seed: int
) -> None:
    """Writes map.html and neighbours.html of the first shared space into a run's folder; nothing where there is none.

    Args:
        bundle: The model.
        table: The rows that were evaluated.
        evaluation: Of all of them.
        folder: The run's.
        split: What the rows are called.
        seed: Of the choice.
    """
    target = next((one for one in bundle.schema.targets if one.task is Task.CONTRASTIVE), None)
    if target is None:
        return
    places = evaluation.predictions[target.name].values.float().numpy()
    truth = evaluation.truths[target.name]
    drawn = np.sort(permutation(len(table), seed, "map")[:_MAPPED_ROWS])
    if np.isfinite(places[drawn]).all(axis=2).sum() >= 2:
        draw_map(
            bundle,
            table.select(drawn),
            {name: places[drawn, i] for i, name in enumerate(target.members)},
            folder / "map.html",
            columns=target.members,
            colour=None,
            method="tsne",
            num_table=len(table),
            title=f"{folder.name}: a map of the {split} rows",
            description=f"the place of each cell in the shared space {target.name} ({', '.join(target.members)})",
            seed=seed,
        )
    searches = []
    for one, other in directions(target.members, target.anchor):
        able = can_look(places, truth.values, truth.present, one, other)
        if not len(able):
            continue
        chosen = np.sort(able[permutation(len(able), seed, "neighbours")[:_QUERIES]])
        found = nearest(places, truth.values, one, other, chosen, _FOUND)
        pair = f"{target.members[one]} to {target.members[other]}"
        metrics = evaluation.metrics[target.name]
        share, rank = metrics[f"recall_at_{_FOUND}/{pair}"], metrics[f"median_rank/{pair}"]
        searches.append(
            Search(
                title=f"{target.members[one]} looks for {target.members[other]}",
                note=f"Of {len(able):,} rows {100 * share.value:.0f}% find their own among the {_FOUND} nearest of "
                f"{found[0].num_candidates:,}; the right one stands at rank {rank.value:.0f} in the middle. "
                "✓ belongs to the query. Where none of the nearest does, the one that does is last.",
                rows=[_row(bundle, table, target, one, other, each) for each in found],
            )
        )
    if searches:
        note = f"{_QUERIES} of the {split} rows, chosen by chance and not by how well they go"
        write_text(folder / "neighbours.html", render_neighbours(folder.name, searches, note))


def _row(bundle: Bundle, table: Table, target: Target, one: int, other: int, found: Nearest) -> list[Tile]:
    dataset = TableDataset(table, bundle.processor, with_targets=False)
    asked, sought = (bundle.schema.column(target.members[index]) for index in (one, other))
    query = Tile(
        shown=_shown(dataset, asked, found.position), caption=f"row {table.rows[found.position]}", mark="query"
    )
    return [query, *found_tiles(dataset, sought, found)]


def found_tiles(dataset: TableDataset, column: Column, found: Nearest, *, most: int = _FOUND) -> list[Tile]:
    """What was found, best first, and what should have been where it is not among it.

    Args:
        dataset: The rows.
        column: What was looked for.
        found: By one row.
        most: Of the nearest.
    """
    tiles: list[Tile] = []
    nearest_rows: Sequence[tuple[int, float, bool]] = list(
        zip(found.found, found.similarities, found.right, strict=True)
    )[:most]
    for row, similarity, right in nearest_rows:
        caption = f"row {dataset.table.rows[row]}\n{number(similarity)}"
        tiles.append(Tile(shown=_shown(dataset, column, row), caption=caption, mark="right" if right else ""))
    if not any(right for _, _, right in nearest_rows):
        caption = f"row {dataset.table.rows[found.best_right]}\nrank {found.rank:g} of {found.num_candidates:,}"
        tiles.append(Tile(shown=_shown(dataset, column, found.best_right), caption=caption, mark="missed"))
    return tiles


def _shown(dataset: TableDataset, column: Column, row: int) -> Input:
    return shown_cell(column, dataset.table, row, dataset[row])
