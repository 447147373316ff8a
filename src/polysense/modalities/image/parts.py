"""An image in parts: patches of a grid. A removed patch has the image's mean color.

Where an image was padded to its column's shape, the grid lies over the image alone, and its mean color is its own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from polysense.core.cell_parts import CellParts, Place, stretches
from polysense.core.geometry import Placement
from polysense.core.modality_spec import FittedColumn

__all__ = ["ImageParts", "image_parts"]

_SMALLEST_PATCH = 2  # pixels a side


def image_parts(
    fitted: FittedColumn,
    cell: object,
    root: Path,
    items: Sequence[np.ndarray],
    most: int,
    placement: Placement | None = None,
) -> ImageParts:
    """The patches of a cell's images; see `core.modality_spec.MakeParts`."""
    return ImageParts(cell, items, most, placement)


class ImageParts(CellParts):
    """The patches of one image, or of several, or of a video's frames; where these are many, runs of whole ones."""

    removed = "the image's mean color"

    def __init__(
        self, cell: object, items: Sequence[np.ndarray], most: int, placement: Placement | None = None
    ) -> None:
        self._cell, self._items = cell, list(items)
        self._means = [_mean(pixels, placement) for pixels in self._items]
        self.places: list[Place] = []
        self._areas: list[list[tuple[int, slice, slice]]] = []
        grid = math.isqrt(most // len(self._items)) if len(self._items) <= most else 0
        if grid <= 1 and len(self._items) > 1:
            for start, end in stretches(len(self._items), most):
                name = f"image {start + 1}" if end - start == 1 else f"images {start + 1} to {end}"
                self.places.append(Place(item=start, name=name, box=(0.0, 0.0, 1.0, 1.0), num_items=end - start))
                self._areas.append([(item, *_shown(self._items[item], placement)) for item in range(start, end)])
            return
        for item, pixels in enumerate(self._items):
            _, height, width = pixels.shape
            which = f"image {item + 1}, " if len(self._items) > 1 else ""
            vertical, horizontal = (_patches(each, grid) for each in _shown(pixels, placement))
            for row, (top, bottom) in enumerate(vertical):
                for column, (left, right) in enumerate(horizontal):
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
                items[item][:, rows, columns] = self._means[item][:, None, None]
        return self._cell, list(items.values())


def _shown(pixels: np.ndarray, placement: Placement | None) -> tuple[slice, slice]:
    """The rows and columns of an item that show the image."""
    _, height, width = pixels.shape
    return (slice(0, height), slice(0, width)) if placement is None else placement.within(height, width)


def _mean(pixels: np.ndarray, placement: Placement | None) -> np.ndarray:
    """The image's mean color, in the item's type."""
    shown = pixels[(slice(None), *_shown(pixels, placement))]
    mean: np.ndarray = np.rint(shown.reshape(len(shown), -1).mean(axis=1)).astype(pixels.dtype)
    return mean


def _patches(axis: slice, grid: int) -> list[tuple[int, int]]:
    """A range of pixels in patches, [start, end) each."""
    return [(axis.start + a, axis.start + b) for a, b in stretches(axis.stop - axis.start, grid, _SMALLEST_PATCH)]
