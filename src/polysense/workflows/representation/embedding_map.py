"""A table's rows on a map: the nearer two are, the more alike the model finds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import named_path, write_text
from polysense.core.json import json_object
from polysense.core.random import permutation
from polysense.core.registry import modality, task
from polysense.core.sample import Unreadable
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.frame_file import naming
from polysense.data.tables.sources import Table
from polysense.data.values.cells import clean
from polysense.data.values.numbers import is_number
from polysense.errors import ConfigError, TableError
from polysense.escaping import joined
from polysense.evaluation.projection import pca, retained_neighbors, tsne
from polysense.reports.embedding_map import Layout, MapPoint, render_map
from polysense.reports.previews import preview_input
from polysense.workflows.representation.embed import embeddings
from polysense.workflows.representation.features import choose_features, features

__all__ = ["MAP_METHODS", "Mapped", "draw_map", "map_rows"]

MAP_METHODS = ("tsne", "pca")

_SIDE = 72  # pixels of an embedded image: about 2 KB
_FEWEST_NUMBERS = 12  # different numbers from which colors are a scale and not a class each


@dataclass(frozen=True, eq=False, kw_only=True)
class Mapped:
    """What was drawn.

    Attributes:
        path: The page.
        num_rows: Rows of the table that are on it.
        num_table: Rows of the table.
        num_points: Marks; several a row where columns share a space.
        features: What the vectors are, in words.
        variance: The shares that PCA's two directions have.
        retained: Per map, the share of each point's ten nearest that are among its nearest there.
        unreadable: Cells that could not be read.
    """

    path: Path
    num_rows: int
    num_table: int
    num_points: int
    features: str
    variance: tuple[float, ...]
    retained: Mapping[str, float]
    unreadable: tuple[Unreadable, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return json_object(self, unreadable=[cell.as_dict() for cell in self.unreadable])

    def text(self) -> str:
        """For people."""
        lines = [f"wrote {self.path}: {self.num_points:,} points of {self.num_rows:,} of {self.num_table:,} rows"]
        lines.append(f"  {self.features}")
        lines.append(f"  PCA: {100 * sum(self.variance):.0f}% of the variance in two directions")
        for name, share in self.retained.items():
            if math.isfinite(share):
                lines.append(f"  {name}: {100 * share:.0f}% of each point's ten nearest are near it on the map")
        return joined(lines)


def map_rows(
    bundle: Bundle | str | Path,
    source: Any,
    output: str | Path = "map.html",
    *,
    columns: Sequence[str] | None = None,
    color: str | None = None,
    method: str = "tsne",
    max_rows: int = 1000,
    root: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Mapped:
    """Draws a table's rows as a page: PCA and, by default first, t-SNE.

    In a joint embedding space every column of a row is a point of its own; else a row is one point, the summary of its
    columns.

    Args:
        bundle: Any bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        output: Where the page is written.
        columns: Input columns to draw; None: all (all that share the space).
        color: A column of the table to color by; None: the column of the place, or a class that the model predicts.
        method: "tsne" (scikit-learn's; PCA is on the page too) or "pca" alone.
        max_rows: Of a larger table so many rows are drawn, chosen by chance.
        root: The folder that media paths are relative to; by default the table's own.
        seed: Of the choice and of t-SNE.
        progress: Called with the rows that are done, and all; not in a joint embedding space.

    Raises:
        ConfigError: A setting is wrong.
        UserError: The bundle or the table can't be read, or the page can't be written.
    """
    if method not in MAP_METHODS:
        raise ConfigError(f"method: found {method!r}, expected one of {', '.join(MAP_METHODS)}")
    if max_rows < 2:
        raise ConfigError(f"max_rows: expected at least 2, found {max_rows}")
    page = named_path(output)
    loaded = as_bundle(bundle)
    requested = choose_features(loaded, "auto", columns)
    table = loaded.read(source, root=root, also=[] if color is None else [color])
    chosen = table.select(np.sort(permutation(len(table), seed, "map")[:max_rows]))
    if color is None:
        color = _own_classes(loaded, table)
    else:
        table.require(color, "column to color by")
    vectors: dict[str, np.ndarray]
    if requested.kind == "space":
        placed = embeddings(loaded, chosen)
        vectors, unreadable = {name: placed.vectors[name] for name in requested.columns}, list(placed.unreadable)
    else:
        rows_of, unreadable = features([loaded.model.eval()], loaded, chosen, requested, progress=progress)
        vectors = {"": rows_of[0]}
    return draw_map(
        loaded,
        chosen,
        vectors,
        page,
        columns=requested.columns,
        color=color,
        method=method,
        num_table=len(table),
        title=f"{table.name}: a map",
        description=requested.description
        if requested.kind != "space"
        else f"the embedding of each cell in the joint embedding space ({', '.join(requested.columns)})",
        seed=seed,
        unreadable=unreadable,
    )


def draw_map(
    bundle: Bundle,
    table: Table,
    vectors: Mapping[str, np.ndarray],
    path: Path,
    *,
    columns: Sequence[str],
    color: str | None,
    method: str,
    num_table: int,
    title: str,
    description: str,
    seed: int = 0,
    unreadable: Sequence[Unreadable] = (),
) -> Mapped:
    """Writes the page for vectors that are there already.

    Args:
        bundle: The model.
        table: The rows that are drawn.
        vectors: Per column of a joint embedding space, or under "" of all together, float32 [rows, size]; NaN where
            there is nothing.
        path: Where the page is written.
        columns: What is shown of a row that is one point.
        color: A column of the table, or None.
        method: "tsne" or "pca".
        num_table: Rows of the table that these are of.
        title: Of the page.
        description: What the vectors are.
        seed: Of t-SNE.
        unreadable: Cells that could not be read.

    Raises:
        TableError: There are fewer than two points, or the page can't be written.
    """
    there = {name: np.flatnonzero(~np.isnan(own).any(axis=1)) for name, own in vectors.items()}
    owners = [(name, int(row)) for name, rows in there.items() for row in rows]
    if len(owners) < 2:
        raise TableError(f"{table.name}: a map needs two rows that have the columns {', '.join(columns)}")
    points = np.concatenate([vectors[name][rows] for name, rows in there.items()])
    flat, variance = pca(points)
    shares = " and ".join(f"{100 * share:.0f}%" for share in variance)
    drawn = {"PCA": (flat, f"distances are true along the two directions that vary most ({shares} of it).")}
    if method == "tsne" and (curved := tsne(points, seed)) is not None:
        note = "neighbors lie together; how far groups are from one another, and how large they are, says little."
        drawn = {"t-SNE": (curved, note)} | drawn
    preserved = {name: retained_neighbors(points, positions) for name, (positions, _) in drawn.items()}
    layouts = []
    for name, (positions, note) in drawn.items():
        if math.isfinite(preserved[name]):
            note += f" Of each point's ten nearest, {100 * preserved[name]:.0f}% are near it here."
        layouts.append(Layout(name=name, positions=positions, note=note))
    rows = {row for _, row in owners}
    page = render_map(
        title,
        _points(bundle, table, owners, columns, _values(table, color)),
        layouts,
        color=color,
        notes=[
            f"{len(points):,} points: {len(rows):,} of {num_table:,} rows"
            + (", chosen by chance" if len(table) < num_table else ""),
            f"{description[:1].upper()}{description[1:]}",
        ],
    )
    with naming(path):
        write_text(path, page)
    return Mapped(
        path=path,
        num_rows=len(rows),
        num_table=num_table,
        num_points=len(points),
        features=description,
        variance=variance,
        retained=preserved,
        unreadable=tuple(unreadable),
    )


def _points(
    bundle: Bundle,
    table: Table,
    owners: Sequence[tuple[str, int]],
    columns: Sequence[str],
    values: Sequence[str | float | None],
) -> list[MapPoint]:
    dataset = TableDataset(table, bundle.processor, with_targets=False)
    # Of a row that is one point its image or sound is shown, and its texts; else everything that it has.
    specs = {name: modality(bundle.schema.column(name).modality) for name in columns}
    telling = sorted(
        (name for name in columns if specs[name].is_file or specs[name].is_prose),
        key=lambda name: (not specs[name].is_file, specs[name].rank),
    )
    previews: dict[tuple[str, int], list[Any]] = {}
    needed: dict[int, list[str]] = {}
    for name, row in owners:
        needed.setdefault(row, []).append(name)
    for row, names in needed.items():
        sample = dataset[row]
        for name in names:
            inputs = []
            for one in [name] if name else telling or columns:
                column = bundle.schema.column(one)
                cell = table.cell(row, column.table_column) if table.has(column.table_column) else None
                inputs.append(preview_input(column, cell, sample, most=1, side=_SIDE, player=False)[0])
            previews[name, row] = inputs
    return [
        MapPoint(row=int(table.rows[row]), column=name, previews=previews[name, row], value=values[row])
        for name, row in owners
    ]


def _own_classes(bundle: Bundle, table: Table) -> str | None:
    """The column of the first class that the model predicts, if the table has it."""
    for target in bundle.schema.targets:
        if task(target.task).has_classes and table.has(target.columns[0]):
            return target.columns[0]
    return None


def _values(table: Table, color: str | None) -> list[str | float | None]:
    """What colors each row: a number where all are, and there are more than a dozen different ones."""
    if color is None:
        return [None] * len(table)
    cells = [clean(cell, True) for cell in table.cells(color, literal=True)]
    known = [cell for cell in cells if cell is not None]
    if known and all(is_number(cell) and not isinstance(cell, bool) for cell in known):
        numbers = [None if cell is None else float(str(cell).replace(",", ".")) for cell in cells]
        if (
            len({one for one in numbers if one is not None}) > _FEWEST_NUMBERS
            and np.isfinite([one for one in numbers if one is not None]).all()
        ):
            return list(numbers)
    return [
        None if cell is None else ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell) for cell in cells
    ]
