"""A table and its files written as WebDataset shards, which any reader of tar archives takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from polysense.core.files import named_path
from polysense.data.tables.shard_writer import ShardsWritten
from polysense.data.tables.shard_writer import write_shards as write
from polysense.data.tables.sources import read_table
from polysense.errors import ConfigError, TableError

__all__ = ["MAX_BYTES", "MAX_ROWS", "write_shards"]

MAX_BYTES = 10**9
"""Of a shard, if not stated otherwise: large enough to be read in one go, small enough to be shared out."""

MAX_ROWS = 100_000
"""Of a shard, likewise."""


def write_shards(
    source: Any,
    folder: str | Path,
    *,
    root: str | Path | None = None,
    allow_outside: bool = True,
    allow_urls: bool = False,
    max_bytes: int = MAX_BYTES,
    max_rows: int = MAX_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> ShardsWritten:
    """Writes a table with the files that its cells name as shards; `folder` is then a table with the same rows.

    A call that was stopped goes on after the last whole shard; one that finds all of them does nothing. The same table
    gives the same bytes.

    Args:
        source: As of `read_table`.
        folder: Where the shards go.
        root, allow_outside, allow_urls: As of `read_table`.
        max_bytes: Of a shard, unless one row alone has more.
        max_rows: Of a shard.
        progress: Called with the rows that are done and all rows.

    Raises:
        UserError: Something that the caller can mend: the table, the folder, a limit.
    """
    if max_bytes < 1 or max_rows < 1:
        raise ConfigError(f"max_bytes and max_rows: found {max_bytes} and {max_rows}, expected 1 or more")
    table = read_table(source, root=root, allow_outside=allow_outside, allow_urls=allow_urls)
    if not len(table):
        raise TableError(f"{table.name}: has no rows")
    return write(table, named_path(folder), max_bytes=max_bytes, max_rows=max_rows, progress=progress)
