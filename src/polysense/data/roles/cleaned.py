"""A column as it is counted: missing cells null, texts trimmed and in Unicode's composed form.

Several questions about a column begin with it (what it is, whether it gives a target away), and of a wide table one
query for all its texts takes a hundredth of the time of a query for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import polars as pl

from polysense.data.tables.sources import Table
from polysense.data.values.cells import MISSING, SHEET_ERRORS

__all__ = ["cleaned"]

_FEW_CELLS = 4_000_000  # of a table, whose trimmed texts are remembered

_CLEANED: WeakKeyDictionary[Table, Mapping[str, pl.Series]] = WeakKeyDictionary()
"""The text columns of tables with few cells, which are asked for several times."""


def cleaned(table: Table, name: str, literal: bool) -> pl.Series:
    """A column with its missing cells null, for counting: texts trimmed, structures of inputs by position."""
    series = table.column(name)
    if series.dtype == pl.String:
        if literal or len(table) * table.width > _FEW_CELLS:
            return _trimmed(table, [name], literal)[name]
        if table not in _CLEANED:
            _CLEANED[table] = _trimmed(table, [n for n, kind in table.schema.items() if kind == pl.String], False)
        return _CLEANED[table][name]
    if series.dtype.is_float():
        return series.fill_nan(None)
    if series.dtype.is_nested() and not literal:
        return pl.Series(
            name, [None if cell is None else str(i) for i, cell in enumerate(table.cells(name))], dtype=pl.String
        )
    return series


def _trimmed(table: Table, names: Sequence[str], literal: bool) -> dict[str, pl.Series]:
    """Text columns for `cleaned`, by one query for them all: of a short column each would cost more than its cells."""
    texts, are_odd = [], []
    for i, name in enumerate(names):
        missing = ["", *SHEET_ERRORS] if literal else [*MISSING, *(["[]"] if name in table.spelled else [])]
        text = pl.col(name).str.strip_chars()
        texts.append(pl.when(text.is_in(missing)).then(None).otherwise(text).alias(str(i)))
        are_odd.append((pl.col(name).str.len_bytes() != pl.col(name).str.len_chars()).any().alias(str(i)))
    frame = pl.DataFrame([table.column(name) for name in names])
    odd = frame.select(are_odd).row(0) if len(table) else [False] * len(names)
    columns = zip(names, frame.select(texts).get_columns(), odd, strict=True)
    # The same word typed on a Mac is the same value.
    return {name: (text.str.normalize("NFC") if is_odd else text).alias(name) for name, text, is_odd in columns}
