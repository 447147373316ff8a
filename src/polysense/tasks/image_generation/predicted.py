"""Generated images as PNG files, as a column of a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.data.values.cells import MEDIA
from polysense.tasks.image_generation.pixels import encode_png
from polysense.tasks.image_generation.record import ImageGenerationTarget

__all__ = ["predicted_columns"]


def predicted_columns(
    target: ImageGenerationTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """One file for each row, named by its number. See `TaskSpec.decode`."""
    images: np.ndarray = outputs["values"]
    files = [{"bytes": encode_png(image), "path": f"{row}.png"} for row, image in zip(table.rows, images, strict=True)]
    return {target.name: polars.Series(files, dtype=MEDIA)}
