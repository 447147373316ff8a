"""The catalogue: each item once, as a row of the columns that describe items."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import numpy as np
import polars as pl

from polysense.data.joins.keys import Comparison, key_text
from polysense.data.tables.sources import Table
from polysense.errors import DecodeError

__all__ = ["HasItem", "candidate_table", "compared_by", "described_by_item", "joined_by", "known_key"]


class HasItem(Protocol):
    """What says in which column an item's key stands."""

    @property
    def item(self) -> str: ...


def joined_by(table: Table, key: str) -> str | None:
    """The name of a table that is joined by a key column, one row for each key; None: there is none."""
    return next(
        (
            name
            for name, join in table.joins.items()
            if not join.is_list and tuple(join.on) == (key,) and name in table.sides
        ),
        None,
    )


def compared_by(table: Table, key: str) -> Comparison:
    """How a key column is compared: as with the table that is joined by it, else without whitespace around."""
    name = joined_by(table, key)
    return "trimmed" if name is None else table.joins[name].keys


def candidate_table(config: HasItem, table: Table, columns: Collection[str], level: Comparison) -> Table:
    """Each item once: the rows of the table that is joined by the item's key, or else the first row of each item.

    Args:
        config: In which column an item's key stands.
        table: Rows of choices, with the tables that are joined to it.
        columns: The table's columns that describe items.
        level: How keys are compared.
    """
    key, name = config.item, joined_by(table, config.item)
    described = [column for column in table.names if column in columns and column != key]
    if name is None:
        first = _first(table.cells(key, literal=True), level)
        part = table.select(first)
        return part.changed(
            frame=part.frame.select([key, *described]), rows=first, sides={}, joins={}, imputations=None
        )
    side, join = table.sides[name], table.joins[name]
    frame = pl.DataFrame([
        side.column(join.on[key]).alias(key),
        *(side.column(there).alias(here) for here, there in join.columns.items() if here in described),
    ])  # fmt: skip
    first = _first(side.changed(frame=frame).cells(key, literal=True), level)
    return table.changed(
        name=side.name, frame=frame[first], rows=side.rows[first], sides={}, joins={}, imputations=None, key=None,
        remarks=(),
    )  # fmt: skip


def _first(cells: Collection[object], level: Comparison) -> np.ndarray:
    """The first position of each key."""
    positions: dict[str, int] = {}
    for position, cell in enumerate(cells):
        key = known_key(cell, level)
        if key is not None:
            positions.setdefault(key, position)
    return np.fromiter(positions.values(), dtype=np.int64, count=len(positions))


def known_key(cell: object, level: Comparison) -> str | None:
    """A key; None where it is missing or can't be read, which is listed when its row is read."""
    try:
        return key_text(cell, level)
    except DecodeError:
        return None


def described_by_item(config: HasItem, table: Table, sources: Mapping[str, str], others: Collection[str]) -> list[str]:
    """The input columns that describe the item: joined by its key, or alike in all rows of an item.

    Args:
        config: In which column an item's key stands.
        table: The training rows.
        sources: Per input column the table's column that it is read from.
        others: Names of joined tables whose columns are none.
    """
    name = joined_by(table, config.item)
    joined = set() if name is None else set(table.joins[name].columns)
    elsewhere = {column for other in others for column in table.joins[other].columns}
    results = []
    for column, source in sources.items():
        if (
            source in joined
            or source == config.item
            or (source not in elsewhere and table.has(source) and _is_alike(table, config.item, source))
        ):
            results.append(column)
    return results


def _is_alike(table: Table, key: str, column: str) -> bool:
    """Whether a column holds the same in all rows of a key, and differs between keys."""
    cells = table.column(column)
    if cells.dtype.is_nested() or cells.dtype == pl.Binary:
        cells = cells.hash() if cells.dtype == pl.Binary else cells.cast(pl.String, strict=False)
    frame = pl.DataFrame({"key": table.column(key).cast(pl.String), "cell": cells})
    counts = frame.group_by("key").agg(pl.col("cell").n_unique().alias("kinds"), pl.len().alias("rows"))
    several = counts.filter(pl.col("rows") > 1)
    return bool(len(several) and (several["kinds"] == 1).all() and frame["cell"].n_unique() > 1)
