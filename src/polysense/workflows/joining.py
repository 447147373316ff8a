"""Joined tables of a recipe: read where they are not given, and joined to every table that the recipe names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from polysense.config.codec import from_dict, to_dict
from polysense.config.overrides import apply_overrides
from polysense.core.spelling import did_you_mean
from polysense.data.config import DataConfig
from polysense.data.joins.config import JoinConfig
from polysense.data.joins.join import Joined, join_tables
from polysense.data.joins.used import uses_of
from polysense.data.recipe_paths import TABLES, absolute_paths
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError

__all__ = ["configs_before_recipe", "join_all", "join_for", "join_like", "side_tables", "unjoined"]


def configs_before_recipe(overrides: Sequence[str], table: Table) -> dict[str, JoinConfig]:
    """How tables are joined where the recipe is yet to be inferred from them.

    Args:
        overrides: `a.b.c=value` changes of the recipe, among them `data.tables.NAME...`.
        table: The main table, with those of the others that were given in memory.

    Raises:
        ConfigError: An override can't be read.
    """
    plain: dict[str, object] = {name: {"table": None} for name in table.sides}
    changed = apply_overrides({"data": {TABLES: plain}}, [each for each in overrides if _is_of_tables(each)])
    tables = absolute_paths(changed, Path.cwd(), {TABLES})["data"][TABLES]
    if not isinstance(tables, dict):
        raise ConfigError(f"data.{TABLES}: found {tables!r}, expected names with their tables")
    return {name: from_dict(JoinConfig, join, where=f"data.{TABLES}.{name}") for name, join in tables.items()}


def _is_of_tables(override: str) -> bool:
    return override.partition("=")[0].strip().startswith(f"data.{TABLES}")


def join_for(config: DataConfig, table: Table) -> Joined:
    """A recipe's main table with the columns that it uses of the others.

    Raises:
        TableError: A table can't be read or joined.
        ConfigError: A table is neither named by the recipe nor given, or one is given that it does not name.
    """
    given = _with_sides(table, config.tables, config.read)
    return join_tables(given, config.tables, uses_of(to_dict(config)))


def join_all(configs: Mapping[str, JoinConfig], table: Table, read: Callable[[str], Table]) -> Joined:
    """A main table with all columns of the others, before a recipe says which are used.

    Args:
        configs: How each is joined.
        table: The main one.
        read: Reads the others.
    """
    return join_tables(_with_sides(table, configs, read), configs)


def join_like(config: DataConfig, table: Table, joined: Table) -> Table:
    """Another table of the recipe (for validation, for the test) joined to the same tables as the main one is."""
    if not config.tables:
        return table
    return join_tables(table.changed(sides=joined.sides), config.tables, uses_of(to_dict(config))).table


def side_tables(config: DataConfig, joined: Table) -> dict[str, Table]:
    """The joined tables by name, each with the columns that a recipe uses and its keys."""
    uses = uses_of(to_dict(config))
    results = {}
    for name, side in joined.sides.items():
        if name not in config.tables:
            continue
        join = config.tables[name]
        own = {*(join.pairs or {}).values(), join.order}
        columns = [column for column in side.names if column in own or uses(f"{name}.{column}")]
        results[name] = replace(side, frame=side.frame.select(columns))
    return results


def unjoined(table: Table) -> Table:
    """A table without the columns that were joined to it."""
    columns = [column for result in table.joins.values() for column in result.columns]
    return replace(table, frame=table.frame.drop(columns)) if columns else table


def _with_sides(table: Table, configs: Mapping[str, JoinConfig], read: Callable[[str], Table]) -> Table:
    unknown = [name for name in table.sides if name not in configs]
    if unknown:
        names = ", ".join(configs) or "none"
        hint = did_you_mean(unknown[0], [*configs])
        raise ConfigError(f"the recipe joins no table {unknown[0]!r}{hint} (data.tables: {names})")
    sides = dict(table.sides)
    for name, config in configs.items():
        if name in sides:
            continue
        if config.table is None:
            raise ConfigError(
                f"data.tables.{name}.table is not set; name the file, or give the table: "
                f"read_table(TABLE, join={{{name!r}: ...}})"
            )
        sides[name] = read(config.table)
    return table.changed(sides=sides)
