"""Write a run's neighbors.html and map.html: how the columns of a joint embedding space retrieve one another."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from polysense.bundle import Bundle
from polysense.core.files import write_text
from polysense.core.random import permutation
from polysense.core.registry import named, task
from polysense.core.sample_output import Retrieval
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.evaluation.evaluator import Evaluation
from polysense.reports.neighbors import Search, neighbor_tiles, query_tile, render_neighbors
from polysense.workflows.representation.embedding_map import draw_map

__all__ = ["write_space_pages"]

_QUERIES = 10
_NUM_NEIGHBORS = 5
_MAPPED_ROWS = 250  # two columns of them are 500 points: t-SNE takes about 5 s on a slow core


def write_space_pages(
    bundle: Bundle, table: Table, evaluation: Evaluation, folder: Path, split: str, seed: int
) -> None:
    """Writes map.html and neighbors.html of the first joint embedding space into a run's folder; nothing where there is
    none.

    Args:
        bundle: The model.
        table: The rows that were evaluated.
        evaluation: Of all of them.
        folder: The run's.
        split: What the rows are called.
        seed: Of the choice.
    """
    target = next((one for one in bundle.schema.targets if task(one.task).embeds_columns), None)
    if target is None:
        return
    embeddings = evaluation.statistics[target.name]["embeddings"]
    drawn = np.sort(permutation(len(table), seed, "map")[:_MAPPED_ROWS])
    if np.isfinite(embeddings[drawn]).all(axis=2).sum() >= 2:
        draw_map(
            bundle,
            table.select(drawn),
            {name: embeddings[drawn, i] for i, name in enumerate(target.members)},
            folder / "map.html",
            columns=target.members,
            color=None,
            method="tsne",
            num_table=len(table),
            title=f"{table.name}: a map of the {split} rows",
            description=f"the embedding of each cell in the joint space {target.name} ({', '.join(target.members)})",
            seed=seed,
        )
    dataset = TableDataset(table, bundle.processor, with_targets=False)
    where = task(target.task).searches
    assert isinstance(where, str), f"{target.name}: {where}"
    searches = []
    for retrieval in cast(list[Retrieval], named(where)(target, evaluation, _QUERIES, _NUM_NEIGHBORS, seed)):
        query = bundle.schema.column(retrieval.query)
        tiles = [[query_tile(dataset, query, one.position), *neighbor_tiles(dataset, one)] for one in retrieval.nearest]
        note = f"{retrieval.note} ✓ is correct. Where none of the nearest is, the correct one is last."
        searches.append(Search(title=f"{retrieval.query} to {retrieval.column}", note=note, rows=tiles))
    if searches:
        note = f"{_QUERIES} of the {split} rows, chosen by chance and not by how well they go"
        write_text(folder / "neighbors.html", render_neighbors(f"{table.name}: nearest neighbors", searches, note))
