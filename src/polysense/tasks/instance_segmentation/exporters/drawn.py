"""Predicted things drawn over their images."""

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
from polysense.data.media.mask_codes import from_runs
from polysense.data.media.raster import shown_image
from polysense.data.tables.sources import Table
from polysense.errors import DecodeError
from polysense.tasks.instance_segmentation.overlay import colored
from polysense.tasks.instance_segmentation.placed import in_original
from polysense.tasks.instance_segmentation.record import InstanceTarget

__all__ = ["DrawnInstancesExporterConfig"]


@dataclass(frozen=True, kw_only=True)
class DrawnInstancesExporterConfig(ExporterConfig):
    """Masks of things drawn over their images: a folder of JPEG files, one for each row, named by its number.

    Attributes:
        target: Which target, where the model has several of the task.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"instance_segmentation"})
    type: Literal["drawn_instances"] = "drawn_instances"

    def open(self, target: Target, source: str, path: Path) -> AbstractContextManager[Export]:
        return _DrawnInstances.opened(path, InstanceTarget.of(target), source)


class _DrawnInstances(ExportPictures):
    """Those that are sure enough to be written into tables, each in a color of its own."""

    def __init__(self, folder: Path, target: InstanceTarget, source: str) -> None:
        super().__init__(folder)
        self._target, self._source = target, source

    def add(self, outputs: Arrays, table: Table, geometry: Mapping[str, Geometry]) -> None:
        own = geometry[self._target.over]
        for position, number in enumerate(table.rows.tolist()):
            if not own.sizes[position].all():
                continue
            with contextlib.suppress(DecodeError):  # the file has gone since
                pixels, scale = shown_image(table.cell(position, self._source), table.root_of(self._source))
                shown = own.matrices[position] @ np.diag([1 / scale[0], 1 / scale[1], 1.0])
                size = (pixels.shape[0], pixels.shape[1])
                place = Geometry(shown[None], np.array([size]))
                some = {name: values[position : position + 1] for name, values in outputs.items()}
                _, masks = in_original(some, place, 0, self._target.size, self._target.written_score)
                self.write(number, as_jpeg(colored(pixels, [from_runs(runs, size) for runs in masks])))
