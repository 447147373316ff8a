"""Predicted boxes as columns of a table: as JSON, in pixels of the original images."""

from __future__ import annotations

import json
from collections.abc import Mapping

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.spec import in_original
from polysense.tasks.detection.target import box_records

__all__ = ["predicted_columns"]


def predicted_columns(
    target: DetectionTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """The boxes, the surest first, as the training table has them and with a score each; and how many there are.

    Null where the row has no image. See `TaskSpec.decode`.
    """
    cells: list[str | None] = []
    counts: list[int | None] = []
    own = geometry[target.over]
    for row, values in enumerate(outputs["values"]):
        if own.sizes[row].all():
            boxes = box_records(target, in_original(values, own, row))
            cells.append(json.dumps(boxes, ensure_ascii=False))
            counts.append(len(boxes))
        else:
            cells.append(None)
            counts.append(None)
    return {target.name: cells, f"{target.name}_count": counts}
