"""Columns of a checked table over all rows: what is missing, which cells are equal, numbers and categories.

Nothing is decoded here. Of files the bytes are compared, and only where two have one size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Int

from polysense.core.modality_spec import ModalitySpec
from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.data.media.content_keys import content_keys
from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.profile import read_numbers
from polysense.data.tables.sources import Table
from polysense.evaluation.findings.checked import CheckedColumn

__all__ = ["codes_of", "light_column"]

VALUE = "value"
"""What the number of a cell that is a number is called."""


def light_column(tables: Sequence[Table], name: str, source: str, kind: str) -> CheckedColumn:
    """What costs no decoding to know of an input.

    Args:
        tables: One after another, which give the rows; one may lack the column.
        name: The input's.
        source: The table's column.
        kind: The modality.
    """
    spec = modality(kind)
    if spec.is_numeric:
        numbers = np.concatenate(
            [
                read_numbers(table, cleaned(table, source, literal=False))
                if table.has(source)
                else np.full(len(table), np.nan)
                for table in tables
            ]
        )
        missing = ~np.isfinite(numbers)
        _, keys = np.unique(numbers, return_inverse=True)
        return CheckedColumn(
            name=name,
            source=source,
            modality=kind,
            missing=missing,
            keys=np.where(missing, -1, keys),
            is_distinct=np.zeros(len(numbers), dtype=bool),
            numbers={VALUE: numbers},
        )
    cells = [table.cells(source) if table.has(source) else [None] * len(table) for table in tables]
    missing = np.array([_is_missing(spec, cell) for part in cells for cell in part], dtype=bool)
    if spec.is_file:
        roots = [table.root_of(source) for table in tables for _ in range(len(table))]
        keys = _codes(content_keys([cell for part in cells for cell in part], roots, spec.name))
        keys = np.where(missing, -1, keys)
        return CheckedColumn(
            name=name, source=source, modality=kind, missing=missing, keys=keys, is_distinct=~missing & (keys >= 0)
        )
    known: dict[object, str] = {}
    identities = [
        None if is_missing else _identity(spec, cell, known)
        for cell, is_missing in zip((cell for part in cells for cell in part), missing.tolist(), strict=True)
    ]
    keys = _codes(identities)
    flat = [cell for part in cells for cell in part]
    return CheckedColumn(
        name=name,
        source=source,
        modality=kind,
        missing=missing,
        keys=keys,
        is_distinct=_distinct(spec, name, keys, flat),
        codes=keys if spec.is_discrete else None,
    )


def codes_of(tables: Sequence[Table], column: str) -> Int[np.ndarray, " rows"]:
    """A column of names as codes over all rows, -1 where it is missing."""
    parts = [
        cleaned(table, column, literal=False).cast(pl.String, strict=False).to_list()
        if table.has(column)
        else [None] * len(table)
        for table in tables
    ]
    return _codes([cell for part in parts for cell in part])


def _is_missing(spec: ModalitySpec, cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and spec.is_missing(cell))


def _identity(spec: ModalitySpec, cell: object, known: dict[object, str]) -> str:
    if not isinstance(cell, (str, int, float)):
        return spec.identity(cell)
    key = (type(cell), cell)
    if key not in known:
        known[key] = spec.identity(cell)
    return known[key]


def _codes(values: Sequence[object]) -> Int[np.ndarray, " rows"]:
    """Equal values as equal numbers from 0; None is -1."""
    places: dict[object, int] = {}
    return np.array(
        [-1 if value is None else places.setdefault(value, len(places)) for value in values], dtype=np.int64
    )


def _distinct(spec: ModalitySpec, name: str, keys: np.ndarray, cells: Sequence[object]) -> np.ndarray:
    """Cells that say enough not to recur by chance, among those that recur; the others need not be known."""
    result = np.zeros(len(keys), dtype=bool)
    likeness = spec.likeness
    if spec.is_discrete or isinstance(likeness, Unsupported) or likeness.reads_items:
        return result
    column = Column(name=name, modality=spec.name)
    counts = np.bincount(keys[keys >= 0])
    said: dict[int, bool] = {}
    for i in np.flatnonzero((keys >= 0) & (counts[np.maximum(keys, 0)] > 1) if len(counts) else keys >= 0).tolist():
        key = int(keys[i])
        if key not in said:
            said[key] = likeness.signature(column, cells[i], ()) is not None
        result[i] = said[key]
    return result
