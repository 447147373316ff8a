"""Predicted things as columns of a table: as JSON, masks as COCO's run-length codes of the original images."""

from __future__ import annotations

import json
from collections.abc import Mapping

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.instance_segmentation.placed import in_original
from polysense.tasks.instance_segmentation.record import InstanceTarget
from polysense.tasks.instance_segmentation.target import instance_records

__all__ = ["predicted_columns"]


def predicted_columns(
    target: InstanceTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """The things, the surest first, as the training table has them and with a score each; and how many there are.

    Null where the row has no image. See `TaskSpec.decode`.
    """
    cells: list[str | None] = []
    counts: list[int | None] = []
    own = geometry[target.over]
    for row in range(len(outputs["values"])):
        size = (int(own.sizes[row, 0]), int(own.sizes[row, 1]))
        if all(size):
            detections, masks = in_original(outputs, own, row, target.size, target.written_score)
            things = instance_records(target, detections, masks, size)
            cells.append(json.dumps(things, ensure_ascii=False))
            counts.append(len(things))
        else:
            cells.append(None)
            counts.append(None)
    return {target.name: cells, f"{target.name}_count": counts}
