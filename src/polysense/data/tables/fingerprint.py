"""A table's content as a few hashes: whether a run that is resumed reads the cells that it was started with.

Each column's cells are hashed in order (SHA-256 of the values as read, so that a file may be moved, or become Parquet
where its cells stay what they are), and once more whatever their order, so that a table that was only shuffled is told
from one with other values. Cells that name a media file count by that name: the files themselves are not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from polysense.data.tables.sources import Table

__all__ = ["table_changes", "table_fingerprint"]

_CHUNK = 65_536


def table_fingerprint(table: Table) -> dict[str, Any]:
    """What `table_changes` compares, in JSON's types: the number of rows, and per column its two hashes."""
    return {
        "rows": len(table),
        "polars": pl.__version__,  # whose hashes the unordered ones are sums of
        "columns": {name: _column(table.column(name)) for name in table.names},
    }


def table_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Says how a table differs from what it was; "" if it does not.

    Args:
        before: A fingerprint.
        now: Another one.
    """
    if before["rows"] != now["rows"]:
        return f"it had {before['rows']:,} rows and has {now['rows']:,}"
    old, new = before["columns"], now["columns"]
    parts = []
    if gone := [name for name in old if name not in new]:
        parts.append(f"it lacks {_listed(gone)}")
    if added := [name for name in new if name not in old]:
        parts.append(f"{_listed(added)} {'is' if len(added) == 1 else 'are'} new")
    changed = [name for name in old if name in new and old[name]["ordered"] != new[name]["ordered"]]
    if changed:
        comparable = before["polars"] == now["polars"]
        same = comparable and all(old[name]["unordered"] == new[name]["unordered"] is not None for name in changed)
        parts.append("its rows are in another order" if same else f"the cells of {_listed(changed)} are others")
    elif not parts and [*old] != [*new]:
        parts.append("its columns are in another order")
    return "; ".join(parts)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more columns" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more


def _column(cells: pl.Series) -> dict[str, Any]:
    digest = hashlib.sha256()
    for start in range(0, len(cells), _CHUNK):
        for part in _bytes(cells[start : start + _CHUNK]):
            digest.update(part)
    try:
        unordered: int | None = int(cells.hash().to_numpy().sum(dtype=np.uint64))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):  # of a type that polars can't hash
        unordered = None
    return {"ordered": digest.hexdigest(), "unordered": unordered}


def _bytes(cells: pl.Series) -> Iterator[bytes]:
    """A series as bytes that no other values give: its type, which cells are there, and each value's length."""
    kind = cells.dtype
    yield f"\0{type(kind).__name__}\0{len(cells)}\0".encode()
    yield np.packbits(cells.is_null().to_numpy()).tobytes()
    if isinstance(kind, pl.Struct):
        for field in kind.fields:
            yield f"\0{field.name}\0".encode()
            yield from _bytes(cells.struct.field(field.name))
    elif isinstance(kind, pl.Array):
        yield from _bytes(cells.arr.to_list())
    elif isinstance(kind, pl.List):
        yield cells.list.len().fill_null(0).to_numpy().tobytes()
        yield from _bytes(cells.drop_nulls().explode())
    elif isinstance(kind, pl.Binary):
        for cell in cells:
            yield len(cell or b"").to_bytes(8, "little")
            yield cell or b""
    elif kind.is_numeric() and not kind.is_decimal():
        yield cells.fill_null(0).to_numpy().tobytes()
    elif isinstance(kind, pl.Boolean):
        yield cells.fill_null(False).cast(pl.UInt8).to_numpy().tobytes()
    else:  # texts, categories, dates, times, decimals
        texts = cells.cast(pl.String).fill_null("")
        yield texts.str.len_bytes().to_numpy().tobytes()
        yield "".join(texts.to_list()).encode("utf-8", "surrogatepass")
