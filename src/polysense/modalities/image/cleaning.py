"""Cleaning of images: borders of one color are cropped. Orientation, color mode and bit depth are decoding's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float32

from polysense.config.limits import Limit
from polysense.data.cleaning import CleaningConfig, MediaCleaning
from polysense.data.media.raster import Upright

__all__ = ["CropBorderConfig"]

_LEAST = 8  # pixels that are left in either direction; where fewer would be, nothing is cropped


@dataclass(frozen=True, kw_only=True)
class CropBorderConfig(CleaningConfig):
    """Crops borders of one color, such as letterboxes and scanners' margins.

    Each side is cropped by itself, by the color of its outermost line. An image that is of one color throughout stays
    as it is. No target may lie in the column, since its places would shift.

    Attributes:
        tolerance: How far a pixel of a border may be from its color, of 255.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    moves: ClassVar[bool] = True
    type: Literal["crop_border"] = "crop_border"
    tolerance: Annotated[int, Limit(0, 254)] = 10


class CropBorder(MediaCleaning, config=CropBorderConfig):
    """See `CropBorderConfig`."""

    def __init__(self, config: CropBorderConfig) -> None:
        super().__init__(config)
        self._tolerance = config.tolerance

    def clean(self, value: object) -> object:
        """See `Cleaning`."""
        if not isinstance(value, Upright):
            return value
        pixels = np.asarray(value.image, dtype=np.float32)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        top, bottom = self._inside(pixels)
        left, right = self._inside(pixels[top:bottom].transpose(1, 0, 2))
        is_whole = (top, left, bottom, right) == (0, 0, *pixels.shape[:2])
        if is_whole or bottom - top < _LEAST or right - left < _LEAST:
            return value
        old = value.box
        box = (max(old[0], float(left)), max(old[1], float(top)), min(old[2], float(right)), min(old[3], float(bottom)))
        height = value.size[0] * (box[3] - box[1]) / (old[3] - old[1])
        width = value.size[1] * (box[2] - box[0]) / (old[2] - old[0])
        return Upright(value.image, (max(1, round(height)), max(1, round(width))), box)

    def _inside(self, lines: Float32[np.ndarray, "lines pixels channels"]) -> tuple[int, int]:
        """The first line that is no border, and the one after the last; the whole if all are border."""
        ends = []
        for color in (lines[0].mean(axis=0), lines[-1].mean(axis=0)):
            inner = np.flatnonzero((np.abs(lines - color) > self._tolerance).any(axis=(1, 2)))
            ends.append((int(inner[0]), int(inner[-1]) + 1) if len(inner) else (0, len(lines)))
        return ends[0][0], max(ends[1][1], ends[0][0])
