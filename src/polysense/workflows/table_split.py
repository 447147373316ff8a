"""A table's parts, as a model's own recipe splits it: which of these rows has the model learned from?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from polysense.bundle import Bundle
from polysense.config.codec import from_dict
from polysense.core.logs import get_logger
from polysense.data.split import ColumnSplitConfig, groups_of
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, SplitError, TableError
from polysense.recipe import Recipe
from polysense.workflows.prepare import split_tables

__all__ = ["is_same", "part_of", "parts_of", "recipe_of", "row_groups"]

_log = get_logger("polysense.workflows")

_PARTS = ("train", "validation", "test", "all")


def recipe_of(bundle: Bundle) -> Recipe | None:
    """The recipe that a bundle was trained by; None of one that was made without."""
    return from_dict(Recipe, bundle.recipe, where="the bundle's recipe") if bundle.recipe else None


def is_same(path: str, table: Table) -> bool:
    """Whether a table is the one that a recipe names."""
    return Path(path).name == table.name and Path(path).parent.resolve() == table.root.resolve()


def part_of(bundle: Bundle, table: Table, part: str | None) -> Table:
    """The rows of one part of a table.

    Args:
        bundle: Whose recipe says which rows are in which part: by a column that the table has too, or by chance, which
            only tells of the table that the model was trained on.
        table: Any table.
        part: Which; "all" for all rows. None: all rows, with a warning if some of them are known to have been trained
            on.

    Raises:
        ConfigError: There is no such part, or nothing tells which rows are in it.
        TableError: No row is in it.
    """
    if part is not None and part not in _PARTS:
        raise ConfigError(f"split: found {part!r}, expected one of {', '.join(_PARTS)}")
    if part == "all":
        return table
    recipe = recipe_of(bundle)
    if recipe is None or not _tells(recipe, table):
        if part is None:
            return table
        why = "it has no recipe" if recipe is None else "it was trained on another one, split by chance"
        if recipe is not None and isinstance(recipe.data.split, ColumnSplitConfig):
            why = f"it has no column {recipe.data.split.column!r}, by which the model's own table was split"
        raise ConfigError(f"{table.name}: nothing tells which rows are its {part} split: {why}; leave out the split")
    parts = _parts(recipe, table)
    if part is None:
        if trained := len(parts.get("train", ())):
            _log.warning(
                "%s: %d of these %d rows are in the split that the model was trained on, so the scores are too good; "
                "--split test (split='test') takes the test rows alone, --split all leaves this warning out",
                table.name,
                trained,
                len(table),
            )
        return table
    if part not in parts:
        sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in parts.items())
        raise TableError(f"{table.name}: no row is in the {part} split (there are {sizes or 'none at all'})")
    return parts[part]


def parts_of(bundle: Bundle, table: Table) -> dict[str, Table]:
    """All parts of a table; none where nothing tells which rows are in which, see `part_of`."""
    recipe = recipe_of(bundle)
    return {} if recipe is None or not _tells(recipe, table) else _parts(recipe, table)


def row_groups(bundle: Bundle, table: Table) -> np.ndarray | None:
    """The number of each row's group, int64 [rows], by the column whose groups the model's recipe keeps whole; None
    where it names none, or the table lacks it."""
    recipe = recipe_of(bundle)
    column = None if recipe is None else recipe.data.split.resampled
    return None if column is None or not table.has(column) else groups_of(table, column)


def _tells(recipe: Recipe, table: Table) -> bool:
    """Whether a recipe tells which of a table's rows are in which part."""
    if isinstance(recipe.data.split, ColumnSplitConfig):
        return table.has(recipe.data.split.column)
    return recipe.data.table is not None and is_same(recipe.data.table, table)


def _parts(recipe: Recipe, table: Table) -> dict[str, Table]:
    strategy = recipe.data.split
    if not isinstance(strategy, ColumnSplitConfig):
        parts = split_tables(recipe.data, table, recipe.training.seed)
        # What the recipe names apart is another table's.
        apart = {"validation": recipe.data.validation, "test": recipe.data.test}
        return {name: part for name, part in parts.items() if apart.get(name) is None}
    try:
        return split_tables(replace(recipe.data, validation=None, test=None), table, recipe.training.seed)
    except SplitError:  # a table of test rows alone, which is none to train on
        named = [strategy.part_of(cell) for cell in table.cells(strategy.column)]
        rows = {name: [i for i, part in enumerate(named) if part == name] for name in ("validation", "test")}
        return {name: table.select(positions) for name, positions in rows.items() if positions}
