"""A new table joined as the one was that a model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from polysense.config.codec import from_dict
from polysense.core.logs import get_logger
from polysense.data.joins.config import JoinConfig
from polysense.data.joins.join import join_tables, spelled_keys
from polysense.data.joins.used import uses_of
from polysense.data.tables.sources import Table
from polysense.errors import TableError

__all__ = ["joined_as_fitted"]

_log = get_logger("polysense.data.joins")


def joined_as_fitted(table: Table, data: Mapping[str, Any], also: Collection[str] = ()) -> Table:
    """A new table joined as the training table was; one that is joined already stays as it is.

    Args:
        table: With the others as its `sides`, or with columns called `NAME.COLUMN`.
        data: The `data` of the model's recipe as plain values.
        also: Joined columns that are used beside those that it names.

    Raises:
        TableError: A table is neither given nor joined already, or is not one that the model's was joined to.
    """
    configs = {
        name: from_dict(JoinConfig, join, where=f"the model's data.tables.{name}")
        for name, join in (data.get("tables") or {}).items()
    }
    if unknown := [name for name in table.sides if name not in configs]:
        names = ", ".join(configs) or "none"
        raise TableError(f"{table.name}: the model joins no table {unknown[0]!r}; it joins {names}")
    there = [name for name in configs if name in table.joins or any(c.startswith(f"{name}.") for c in table.names)]
    # Rows that lack a key have no partner, and neither has a table of such rows: of whom something is recommended to,
    # no item is given.
    keyless = [name for name in configs if name not in there and not all(map(table.has, configs[name].pairs or {}))]
    missing = [name for name in configs if name not in (*there, *keyless) and name not in table.sides]
    if missing:
        name, pairs = missing[0], configs[missing[0]].pairs or {}
        path = configs[name].table
        was = "" if path is None else f" (in training {Path(path).name})"
        raise TableError(
            f"{table.name}: the model also reads the table {name!r}{was}, joined by {spelled_keys(pairs)}, and it is "
            f"not given; add --join {name}=TABLE, in Python read_table(TABLE, join={{{name!r}: ...}})"
        )
    for name in table.sides.keys() & {*keyless}:  # of others it is said that their columns are missing
        _log.warning(
            "%s: has no key column %s, so nothing of the table %r is known of its rows",
            table.name, spelled_keys(configs[name].pairs or {}), name,
        )  # fmt: skip
    given = {
        name: config
        for name, config in configs.items()
        if name in table.sides and name not in table.joins and name not in keyless
    }
    if any(name in table.sides for name in keyless):
        table = table.changed(sides={name: side for name, side in table.sides.items() if name not in keyless})
    return join_tables(table, given, uses_of(data, also)).table if given else table
