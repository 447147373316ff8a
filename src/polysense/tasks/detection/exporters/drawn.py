"""Predicted boxes drawn over their images."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from polysense.core.geometry import Geometry
from polysense.core.schema import Target
from polysense.core.task_spec import Arrays
from polysense.data.exporting import Export, ExporterConfig, ExportPictures
from polysense.data.media.raster import shown_image
from polysense.data.tables.sources import Table
from polysense.errors import DecodeError
from polysense.tasks.detection.overlay import drawn_boxes
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.spec import in_original

__all__ = ["DrawnBoxesExporterConfig"]


@dataclass(frozen=True, kw_only=True)
class DrawnBoxesExporterConfig(ExporterConfig):
    """Boxes drawn over their images: a folder of JPEG files, one for each row, named by its number.

    Attributes:
        target: Which target, where the model has several of the task.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"detection"})
    type: Literal["drawn_boxes"] = "drawn_boxes"

    def open(self, target: Target, source: str, path: Path) -> AbstractContextManager[Export]:
        return _DrawnBoxes.opened(path, DetectionTarget.of(target), source)


class _DrawnBoxes(ExportPictures):
    """Those that are sure enough to be written into tables; an image that shows none is there as it is."""

    def __init__(self, folder: Path, target: DetectionTarget, source: str) -> None:
        super().__init__(folder)
        self._target, self._source = target, source

    def add(self, outputs: Arrays, table: Table, geometry: Mapping[str, Geometry]) -> None:
        own = geometry[self._target.over]
        for position, (number, values) in enumerate(zip(table.rows.tolist(), outputs["values"], strict=True)):
            if not own.sizes[position].all():
                continue
            with contextlib.suppress(DecodeError):  # the file has gone since
                pixels, scale = shown_image(table.cell(position, self._source), table.root_of(self._source))
                boxes = in_original(values, own, position)
                boxes = boxes[boxes[:, 5] >= self._target.written_score]
                matrix = np.diag([*scale, 1.0])
                self.write(number, drawn_boxes(self._target, pixels, matrix, boxes[:, 0], boxes[:, 1:5], boxes[:, 5]))
