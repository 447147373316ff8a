"""Columns of a table that stand beside its predictions, as they were read: an id, a name, the truth.

A cell is handed on as it stands, without the reading that an input column gets: "1,50" stays "1,50". Contents of files
are left out, since a table of predictions is to be looked through, and a name that a stranger wrote must not become one
of a file.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

import polars as pl

from polysense.data.tables.sources import Table
from polysense.data.values.cells import MEDIA
from polysense.errors import TableError

__all__ = ["kept_columns"]


def kept_columns(table: Table, names: Sequence[str]) -> dict[str, pl.Series]:
    """The columns, each once, in the order in which they are named.

    Raises:
        TableError: There is no such column, or it holds files.
    """
    results = {}
    for name in (unicodedata.normalize("NFC", name) for name in names):  # as tables have names
        table.require(name, "column to keep")
        results[name] = _plain(table.column(name), table.name)
    return results


def _plain(column: pl.Series, where: str) -> pl.Series:
    kind = column.dtype
    if kind == MEDIA:
        return column.struct.field("path").alias(column.name)
    if _has_bytes(kind):
        raise TableError(
            f"{where}: column {column.name!r} holds files, which can't be kept beside predictions; keep a column that "
            f"names its rows, or find them by the column `row`"
        )
    if isinstance(kind, pl.Struct) or (isinstance(kind, pl.List) and kind.inner.is_nested()):
        texts = [None if cell is None else json.dumps(cell, ensure_ascii=False) for cell in column.to_list()]
        return pl.Series(column.name, texts, dtype=pl.String)
    return column


def _has_bytes(kind: object) -> bool:
    if isinstance(kind, pl.List):
        return _has_bytes(kind.inner)
    if isinstance(kind, pl.Struct):
        return any(_has_bytes(field.dtype) for field in kind.fields)
    return isinstance(kind, pl.Binary) or kind == pl.Binary
