"""Predicted masks as PNG files of the original images' size, as a column of a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars

from polysense.core.geometry import Geometry, Placement
from polysense.core.task_spec import Arrays
from polysense.data.media.pixels import to_original
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.data.values.cells import MEDIA
from polysense.tasks.segmentation.masks import encode_png
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["predicted_columns"]

_MOST_CLASS_COLUMNS = 100


def predicted_columns(
    target: SegmentationTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """The mask with the values that the training masks have, and each class's share where there are few classes.

    Null where the row has no image, since nothing says how large it is. See `TaskSpec.decode`.
    """
    planes = outputs["values"]
    files = _files(target, planes, geometry[target.over], table.rows)
    columns: dict[str, object] = {target.name: polars.Series(files, dtype=MEDIA)}
    if len(target.classes) <= _MOST_CLASS_COLUMNS:
        shares = _shares(target, planes, geometry[target.over])
        for index, name in enumerate(target.classes):
            columns[f"{target.name}_share[{name}]"] = shares[:, index]
    return columns


def _shares(target: SegmentationTarget, planes: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Each class's share of the pixels that show the image, and not of those that fill its shape; float64 [rows,
    classes]. Of all pixels where the row has no image."""
    shares = np.zeros((len(planes), len(target.classes)))
    for i, plane in enumerate(planes):
        size = (int(geometry.sizes[i, 0]), int(geometry.sizes[i, 1]))
        shown = plane[Placement(geometry.matrices[i], size).within(*plane.shape)] if all(size) else plane
        counts = np.bincount(shown.ravel().astype(np.int64), minlength=len(target.classes))
        shares[i] = counts[: len(target.classes)] / shown.size
    return shares


def _files(
    target: SegmentationTarget, planes: np.ndarray, geometry: Geometry, rows: np.ndarray
) -> list[dict[str, object] | None]:
    values = np.array([*target.values, target.void_value, target.void_value])
    files: list[dict[str, object] | None] = []
    for row, plane, matrix, size in zip(rows, planes, geometry.matrices, geometry.sizes, strict=True):
        if not size.all():
            files.append(None)
            continue
        ids = to_original(plane.astype(np.int32), matrix, (int(size[0]), int(size[1])), fill=target.void)
        files.append({"bytes": encode_png(values[ids]), "path": f"{row}.png"})
    return files
