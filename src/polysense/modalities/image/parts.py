"""An image in parts: patches of a grid. A removed patch has the image's mean color."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from polysense.core.cell_parts import CellParts, Place, stretches
from polysense.core.modality_spec import FittedColumn

__all__ = ["ImageParts", "image_parts"]

_SMALLEST_PATCH = 2  # pixels a side


def image_parts(fitted: FittedColumn, cell: object, root: Path, items: Sequence[np.ndarray], most: int) -> ImageParts:
    """The patches of a cell's images; see `core.modality_spec.MakeParts`."""
    return ImageParts(cell, items, most)


class ImageParts(CellParts):
    """The patches of one image, or of several, or of a video's frames; where these are many, runs of whole ones."""

    removed = "the image's mean color"

    def __init__(self, cell: object, items: Sequence[np.ndarray], most: int) -> None:
        self._cell, self._items = cell, list(items)
        self.places: list[Place] = []
        self._areas: list[list[tuple[int, slice, slice]]] = []
        grid = math.isqrt(most // len(self._items)) if len(self._items) <= most else 0
        if grid <= 1 and len(self._items) > 1:
            for start, end in stretches(len(self._items), most):
                name = f"image {start + 1}" if end - start == 1 else f"images {start + 1} to {end}"
                self.places.append(Place(item=start, name=name, box=(0.0, 0.0, 1.0, 1.0), num_items=end - start))
                self._areas.append([(item, slice(None), slice(None)) for item in range(start, end)])
            return
        for item, pixels in enumerate(self._items):
            _, height, width = pixels.shape
            which = f"image {item + 1}, " if len(self._items) > 1 else ""
            for row, (top, bottom) in enumerate(stretches(height, grid, _SMALLEST_PATCH)):
                for column, (left, right) in enumerate(stretches(width, grid, _SMALLEST_PATCH)):
                    box = (left / width, top / height, right / width, bottom / height)
                    name = f"{which}row {row + 1}, column {column + 1}"
                    self.places.append(Place(item=item, name=name, box=box))
                    self._areas.append([(item, slice(top, bottom), slice(left, right))])

    def without(self, removed: Collection[int]) -> tuple[object, list[np.ndarray]]:
        items = dict(enumerate(self._items))
        for part in removed:
            for item, rows, columns in self._areas[part]:
                if items[item] is self._items[item]:
                    items[item] = self._items[item].copy()
                mean = self._items[item].reshape(len(self._items[item]), -1).mean(axis=1)
                items[item][:, rows, columns] = np.rint(mean).astype(items[item].dtype)[:, None, None]
        return self._cell, list(items.values())
