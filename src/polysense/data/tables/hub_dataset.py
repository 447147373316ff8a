"""A dataset of the `datasets` package as a frame: media as they are stored, class ids as their names.

Names are put in wherever the features say so, in lists and structures too: without its name (B-PER) a tag means
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from polysense.data.tables.arrow_types import from_arrow
from polysense.data.tables.python_table import RawFrame

__all__ = ["from_datasets"]


def from_datasets(dataset: Any, label: str) -> RawFrame:
    """A `datasets.Dataset`.

    Raises:
        TableError: A column can't be read; names it.
    """
    # The arrow format applies the selected indices and decodes nothing: media stay {bytes, path}.
    raw = from_arrow(dataset.with_format("arrow")[:], label)
    named = [
        expression.alias(name)
        for name, feature in dataset.features.items()
        if (expression := _named(feature, pl.col(name))) is not None
    ]
    return RawFrame(raw.frame.with_columns(named), raw.spelled) if named else raw


def _named(feature: Any, cells: pl.Expr) -> pl.Expr | None:
    """Cells with names in the place of class ids; None if a feature has no classes."""
    kind = type(feature).__name__
    if kind == "ClassLabel":
        classes = dict(enumerate(feature.names))
        return cells.replace_strict(classes, default=None, return_dtype=pl.String)  # -1: no label
    if isinstance(feature, Mapping):
        fields = [
            part.alias(name) for name, inner in feature.items() if (part := _named(inner, pl.field(name))) is not None
        ]
        return cells.struct.with_fields(*fields) if fields else None
    if isinstance(feature, list) or kind in ("List", "LargeList", "Sequence"):
        inner = feature[0] if isinstance(feature, list) else feature.feature
        if kind == "Sequence" and isinstance(inner, Mapping):  # is stored as a structure of lists
            return _named({name: [part] for name, part in inner.items()}, cells)
        part = _named(inner, pl.element())
        if part is None:
            return None
        length = -1 if isinstance(feature, list) else getattr(feature, "length", -1)
        return cells.arr.to_list().list.eval(part) if length >= 0 else cells.list.eval(part)
    return None
