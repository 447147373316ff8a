"""Predicted masks drawn over their images."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from polysense.core.geometry import Geometry
from polysense.core.preview import as_jpeg
from polysense.core.schema import Target
from polysense.core.task_spec import Arrays
from polysense.data.exporting import Export, ExporterConfig, ExportPictures
from polysense.data.media.pixels import to_original
from polysense.data.media.raster import shown_image
from polysense.data.tables.sources import Table
from polysense.errors import DecodeError
from polysense.tasks.segmentation.overlay import colored
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["DrawnMasksExporterConfig"]


@dataclass(frozen=True, kw_only=True)
class DrawnMasksExporterConfig(ExporterConfig):
    """Masks drawn over their images: a folder of JPEG files, one for each row, named by its number.

    Attributes:
        target: Which target, where the model has several of the task.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"segmentation"})
    type: Literal["drawn_masks"] = "drawn_masks"

    def open(self, target: Target, source: str, path: Path) -> AbstractContextManager[Export]:
        return _DrawnMasks.opened(path, SegmentationTarget.of(target), source)


class _DrawnMasks(ExportPictures):
    """What the model has not seen, since its image was cropped, shows the image alone."""

    def __init__(self, folder: Path, target: SegmentationTarget, source: str) -> None:
        super().__init__(folder)
        self._target, self._source = target, source

    def add(self, outputs: Arrays, table: Table, geometry: Mapping[str, Geometry]) -> None:
        own = geometry[self._target.over]
        for position, (number, plane) in enumerate(zip(table.rows.tolist(), outputs["values"], strict=True)):
            if not own.sizes[position].all():
                continue
            with contextlib.suppress(DecodeError):  # the file has gone since
                pixels, scale = shown_image(table.cell(position, self._source), table.root_of(self._source))
                matrix = own.matrices[position] @ np.diag([1 / scale[0], 1 / scale[1], 1.0])
                size = (pixels.shape[0], pixels.shape[1])
                ids = to_original(plane.astype(np.int32), matrix, size, fill=self._target.void)
                self.write(number, as_jpeg(colored(self._target, pixels, ids)))
