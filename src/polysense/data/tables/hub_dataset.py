"""A dataset of the `datasets` package as a frame: media as they are stored, class ids as their names.

Names are put in wherever the features say so, in lists and structures too: without its name (B-PER) a tag means
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from polysense.data.tables.arrow_types import from_arrow
from polysense.data.tables.python_table import RawFrame
from polysense.errors import TableError

__all__ = ["from_datasets"]


def from_datasets(dataset: Any, label: str) -> RawFrame:
    """A `datasets.Dataset`.

    Raises:
        TableError: A column can't be read, or holds an id of no class; names it.
    """
    # The arrow format applies the selected indices and decodes nothing: media stay {bytes, path}.
    raw = from_arrow(dataset.with_format("arrow")[:], label)
    for name, feature in dataset.features.items():
        for names, ids in _class_ids(feature, raw.frame.get_column(name)):
            unknown = ids.filter(~ids.is_between(-1, len(names) - 1)).unique().sort()
            if len(unknown):
                raise TableError(
                    f"{label}, column {name!r}: found the class id {unknown[0]}, but its feature names {len(names)} "
                    f"classes, 0 to {len(names) - 1}, and -1 is no label; name all classes in the dataset's features"
                )
    named = [
        expression.alias(name)
        for name, feature in dataset.features.items()
        if (expression := _named(feature, pl.col(name))) is not None
    ]
    return RawFrame(raw.frame.with_columns(named), raw.spelled) if named else raw


def _class_ids(feature: Any, cells: pl.Series) -> Iterator[tuple[list[str], pl.Series]]:
    """The classes' names and the ids of each place in a feature that has some."""
    kind = type(feature).__name__
    if kind == "ClassLabel":
        yield feature.names, cells
    elif isinstance(feature, Mapping):
        for name, inner in feature.items():
            yield from _class_ids(inner, cells.struct.field(name))
    elif isinstance(feature, list) or kind in ("List", "LargeList", "Sequence"):
        inner = feature[0] if isinstance(feature, list) else feature.feature
        if kind == "Sequence" and isinstance(inner, Mapping):  # is stored as a structure of lists
            yield from _class_ids({name: [part] for name, part in inner.items()}, cells)
        else:
            yield from _class_ids(inner, cells.explode())


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
