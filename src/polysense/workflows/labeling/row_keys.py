"""Keys of rows: by which a label finds its row again when the table was sorted, or rows were added.

A key is a hash of the row's cells as they were read, without the target's. Files count by their names. Rows that are
equal are numbered. So whoever corrects a cell makes another row of it, whose label is then missing, and is told.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from polysense.core.json import json_text
from polysense.data.tables.sources import Table
from polysense.errors import TableError

__all__ = ["row_keys"]


def row_keys(table: Table, target: str, column: str | None = None) -> list[str]:
    """The key of every row.

    Args:
        table: The rows.
        target: The column of labels, which does not count.
        column: One that names each row; None takes all cells.

    Raises:
        TableError: There is no such column, or two rows have the same name in it, or one has none.
    """
    if column is not None:
        return _named(table, column)
    names = sorted(name for name in table.names if name != target)
    hashes = [hashlib.blake2b(digest_size=12) for _ in range(len(table))]
    for name in names:
        mark = name.encode("utf-8", "replace") + b"\0"
        for state, cell in zip(hashes, table.cells(name, literal=True), strict=True):
            if cell is not None:
                state.update(mark)
                state.update(_bytes(cell))
                state.update(b"\1")
    counts: Counter[str] = Counter()
    keys = []
    for state in hashes:
        key = state.hexdigest()
        counts[key] += 1
        keys.append(key if counts[key] == 1 else f"{key}-{counts[key]}")
    return keys


def _named(table: Table, column: str) -> list[str]:
    table.require(column, "key column")
    keys, rows = [], dict[str, int]()
    for row, cell in enumerate(table.cells(column, literal=True)):
        key = "" if cell is None else str(cell)
        if not key or key in rows:
            problem = "names no row there" if not key else f"names the rows {rows[key]} and {row} alike, {key[:80]!r}"
            raise TableError(
                f"{table.name}, row {row}: the key column {column!r} {problem}; leave --key out, or mend it"
            )
        rows[key] = row
        keys.append(key)
    return keys


def _bytes(cell: object) -> bytes:
    if isinstance(cell, bytes):
        return b"b" + hashlib.blake2b(cell, digest_size=16).digest()
    if isinstance(cell, str):
        return b"s" + cell.encode("utf-8", "replace")
    if isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes):
        return b"f" + _bytes(cell["bytes"]) + str(cell.get("path")).encode("utf-8", "replace")
    if isinstance(cell, Sequence):
        return b"l" + b"".join(len(part).to_bytes(8, "big") + part for part in map(_bytes, cell))
    try:
        return b"v" + json_text(cell).encode()
    except (TypeError, ValueError):
        return b"r" + repr(cell).encode("utf-8", "replace")
