"""Predicted segments as a column of a table, spelled as the training table's: segments, or one label for each word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.tagging.record import TaggingTarget
from polysense.tasks.tagging.target import TaggingProcessor

__all__ = ["predicted_columns"]


def predicted_columns(
    target: TaggingTarget, outputs: Arrays, processor: TargetProcessor, table: Table, geometry: Mapping[str, Geometry]
) -> dict[str, object]:
    """Segments or labels; null where the column that they lie in is absent. See `TaskSpec.decode`."""
    assert isinstance(processor, TaggingProcessor), f"{target.name}: {type(processor).__name__} spells no segments"
    rows = [processor.render_row(value, table, i) for i, value in enumerate(outputs["values"])]
    cells = [None if one is None else one[0] for one in rows]
    label = polars.String if processor.renders_text else polars.Int64
    if processor.writes_labels:
        scores = polars.Series([None if one is None else one[1] for one in rows], dtype=polars.List(polars.Float64))
        return {target.name: polars.Series(cells, dtype=polars.List(label)), f"{target.name}_score": scores}
    number = polars.Float64 if target.units_per_second else polars.Int64
    fields: dict[str, Any] = {"start": number, "end": number}
    if not target.units_per_second:
        fields["text"] = polars.String
    kind = polars.Struct({**fields, "label": label, "score": polars.Float64})
    return {target.name: polars.Series(cells, dtype=polars.List(kind))}
