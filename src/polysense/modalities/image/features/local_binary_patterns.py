"""Local binary patterns: how often each pattern of brighter and darker neighbors occurs, which tells textures apart.

Ojala, Pietikäinen and Mäenpää, "Multiresolution Gray-Scale and Rotation Invariant Texture Classification with Local
Binary Patterns", PAMI 2002. A pattern says for each of 8 neighbors whether it is at least as bright as the pixel. The
58 patterns that change at most twice around the circle have a bin each, all others share one (section 2.3). The
neighbors are whole pixels on a square, so nothing is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor

__all__ = ["NUM_PATTERNS", "LocalBinaryPatternsConfig", "LocalBinaryPatternsExtractor"]

_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_LUMA = (299, 587, 114)  # thousandths


@dataclass(frozen=True, kw_only=True)
class LocalBinaryPatternsConfig(FeatureConfig):
    """Local binary patterns: textures of an image and of its quarters.

    Attributes:
        radii: How far the neighbors are, in pixels; one histogram for each.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["local_binary_patterns"] = "local_binary_patterns"
    radii: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.radii or min(self.radii) < 1:
            raise ValueError("radii: expected at least one, each of 1 pixel or more")


def _bins_of_patterns() -> np.ndarray:
    """The bin of each of the 256 patterns, uint8: uniform ones count up in their order, the rest share the last."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = np.sum(bits != np.roll(bits, 1, axis=1), axis=1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, uniform.sum()).astype(np.uint8)


_BINS = _bins_of_patterns()
NUM_PATTERNS = int(_BINS.max()) + 1


class LocalBinaryPatternsExtractor(ItemFeatureExtractor, config=LocalBinaryPatternsConfig):
    """Square roots of the shares of pixels with each pattern, in the whole image and in its quarters."""

    def __init__(self, config: LocalBinaryPatternsConfig, column: Column) -> None:
        super().__init__(config, column)
        self.radii = config.radii

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return len(self.radii) * 5 * NUM_PATTERNS

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is uint8 [channels, height, width]."""
        gray = item[0]
        if len(item) == 3:
            red, green, blue = (band.astype(np.int32) for band in item)
            gray = ((_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue) // 1000).astype(np.uint8)
        return np.asarray(np.sqrt(np.concatenate([share for radius in self.radii for share in _shares(gray, radius)])))


def _shares(gray: np.ndarray, radius: int) -> list[np.ndarray]:
    """Shares of the patterns in an image, uint8 [height, width], then in each of its quarters."""
    height, width = gray.shape
    padded = np.pad(gray, radius, mode="edge")  # beyond the border lies what lies on it
    codes = np.zeros_like(gray)
    for bit, (down, right) in enumerate(_AROUND):
        top, left = radius * (1 + down), radius * (1 + right)
        codes |= (padded[top : top + height, left : left + width] >= gray).astype(np.uint8) << bit
    bins = _BINS[codes]
    rows = (slice(0, (height + 1) // 2), slice(height // 2, None))
    columns = (slice(0, (width + 1) // 2), slice(width // 2, None))
    regions = [bins, *(bins[row, column] for row in rows for column in columns)]
    return [np.bincount(region.ravel(), minlength=NUM_PATTERNS) / region.size for region in regions]
