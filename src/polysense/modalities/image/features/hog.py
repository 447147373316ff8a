"""Histograms of oriented gradients: which way the edges of an image run, and where.

Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005. An image is divided into a grid of
cells, and each cell counts the directions of its edges. Neighboring cells are normalized together, so light and
contrast hardly matter; shapes do. The grid is a share of the image, not of pixels, so large images have no longer
vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.image.record import ImageColumn

__all__ = ["HogConfig", "HogExtractor"]

_LARGEST_VALUE = 0.2  # of a normalized histogram, so that one strong edge does not stand for all (section 6.4)
_FEWEST_PIXELS = 6  # of a cell's side
_MOST_CELLS = 8
_BLOCK = 2


@dataclass(frozen=True, kw_only=True)
class HogConfig(FeatureConfig):
    """Histograms of oriented gradients: which way the edges run in each part of an image.

    Attributes:
        orientations: Directions that are told apart, of 180 degrees.
        cells: Cells along the height and the width; auto is one for every 6 pixels of the shorter side, from 2 to 8.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["hog"] = "hog"
    orientations: PositiveInt = 9
    cells: PositiveInt | Literal["auto"] = "auto"


class HogExtractor(ItemFeatureExtractor, config=HogConfig):
    """Blocks of 2 x 2 cells, L2-Hys normalized."""

    def __init__(self, config: HogConfig, column: Column) -> None:
        super().__init__(config, column)
        self.orientations = config.orientations
        self.size = ImageColumn.of(column).image_size
        wanted = min(max(min(self.size) // _FEWEST_PIXELS, 2), _MOST_CELLS) if config.cells == "auto" else config.cells
        self.grid = (min(wanted, self.size[0]), min(wanted, self.size[1]))

    @property
    def _blocks(self) -> tuple[int, int]:
        return max(self.grid[0] - _BLOCK + 1, 1), max(self.grid[1] - _BLOCK + 1, 1)

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        rows, columns = self._blocks
        return rows * columns * min(_BLOCK, self.grid[0]) * min(_BLOCK, self.grid[1]) * self.orientations

    @cached_property
    def _first_bin(self) -> np.ndarray:
        """Per pixel the position of its cell's first bin, [height * width]."""
        rows, columns = (np.arange(side) * cells // side for side, cells in zip(self.size, self.grid, strict=True))
        return np.ravel((rows[:, None] * self.grid[1] + columns) * self.orientations)

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is uint8 [channels, height, width]."""
        down, right = _gradients(item)
        size = np.sqrt(down * down + right * right)
        # A direction and its opposite are one; it is shared by the two nearest bins, of which the first is that of
        # upright edges: upright and level ones, the most frequent, have a bin to themselves.
        angle = np.arctan2(down, right) * np.float32(self.orientations / np.pi)
        low = np.floor(angle)
        share = angle - low
        first = low.astype(np.int64) % self.orientations
        second = (first + 1) % self.orientations
        num_bins = self.grid[0] * self.grid[1] * self.orientations
        cells = np.bincount(self._first_bin + first, size * (1 - share), num_bins)
        cells += np.bincount(self._first_bin + second, size * share, num_bins)
        return self._normalized(cells.reshape(*self.grid, self.orientations))

    def _normalized(self, cells: np.ndarray) -> np.ndarray:
        """Histograms [rows, columns, orientations] as blocks, flat."""
        per_pixel = cells * (self.grid[0] * self.grid[1] / (self.size[0] * self.size[1]))
        block = (min(_BLOCK, self.grid[0]), min(_BLOCK, self.grid[1]))
        blocks = np.lib.stride_tricks.sliding_window_view(per_pixel, block, axis=(0, 1))
        blocks = blocks.transpose(0, 1, 3, 4, 2).reshape(self._blocks[0] * self._blocks[1], -1)
        for limit in (_LARGEST_VALUE, np.inf):
            # A gray level in each pixel is the least contrast that counts: noise on a flat area is no edge.
            length = np.sqrt(np.sum(blocks * blocks, axis=1, keepdims=True) + (1.0 if limit < np.inf else 1e-10))
            blocks = np.minimum(blocks / length, limit)
        return blocks.ravel()


def _gradients(item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences of neighbors, downward and to the right, float32 [height * width]: of the strongest channel."""
    pixels = item.astype(np.float32)
    down, right = np.zeros_like(pixels), np.zeros_like(pixels)
    down[:, 1:-1] = pixels[:, 2:] - pixels[:, :-2]
    right[:, :, 1:-1] = pixels[:, :, 2:] - pixels[:, :, :-2]
    down, right = down.reshape(len(item), -1), right.reshape(len(item), -1)
    if len(item) == 1:
        return down[0], right[0]
    strongest = np.argmax(down * down + right * right, axis=0)[None]
    return np.take_along_axis(down, strongest, 0)[0], np.take_along_axis(right, strongest, 0)[0]
