"""Colors of an image and of its quarters: joint histograms of hue, saturation and brightness, and a coarse thumbnail.

The square root of a share is what is kept: the distance of two such histograms is Hellinger's, in which a color of few
pixels counts too, and which is what makes a linear model on histograms work (Arandjelovic and Zisserman, "Three things
everyone should know to improve object retrieval", CVPR 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from polysense.config.limits import PositiveInt
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.image.record import ImageColumn

__all__ = ["ColorHistogramConfig", "ColorHistogramExtractor"]

_NUM_REGIONS = 5  # the whole and its quarters


@dataclass(frozen=True, kw_only=True)
class ColorHistogramConfig(FeatureConfig):
    """Histograms of the colors in an image and in its quarters, and a thumbnail of 4 x 4 pixels.

    Attributes:
        hues: Bins of the hue.
        saturations: Bins of the saturation.
        brightnesses: Bins of the brightness; of gray images, which have nothing else, 4 times as many.
        thumbnail: Pixels along the thumbnail's height and width.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["color_histogram"] = "color_histogram"
    hues: PositiveInt = 8
    saturations: PositiveInt = 3
    brightnesses: PositiveInt = 4
    thumbnail: PositiveInt = 4


class ColorHistogramExtractor(ItemFeatureExtractor, config=ColorHistogramConfig):
    """Square roots of shares of pixels, then mean colors from 0 to 1."""

    def __init__(self, config: ColorHistogramConfig, column: Column) -> None:
        super().__init__(config, column)
        self.config = config
        self.num_channels = ImageColumn.of(column).num_channels
        self.num_bins = (
            4 * config.brightnesses
            if self.num_channels == 1
            else config.hues * config.saturations * config.brightnesses
        )

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return _NUM_REGIONS * self.num_bins + self.num_channels * self.config.thumbnail**2

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is uint8 [channels, height, width]."""
        image = Image.fromarray(item[0] if len(item) == 1 else np.ascontiguousarray(item.transpose(1, 2, 0)))
        bins = self._bins(item, image)
        height, width = bins.shape
        # A quarter has a pixel at least, of an image of one pixel too.
        rows = (slice(0, (height + 1) // 2), slice(height // 2, None))
        columns = (slice(0, (width + 1) // 2), slice(width // 2, None))
        regions = [bins, *(bins[row, column] for row in rows for column in columns)]
        shares = [np.bincount(region.ravel(), minlength=self.num_bins) / region.size for region in regions]
        side = self.config.thumbnail
        thumbnail = np.asarray(image.resize((side, side), Image.Resampling.BOX), dtype=np.float64) / 255
        return np.concatenate([np.sqrt(np.concatenate(shares)), thumbnail.ravel()])

    def _bins(self, item: np.ndarray, image: Image.Image) -> np.ndarray:
        """The bin of each pixel, [height, width]."""
        config = self.config
        if len(item) == 1:
            return np.asarray((item[0].astype(np.int64) * self.num_bins) >> 8)
        hue, saturation, brightness = (np.asarray(band).astype(np.int64) for band in image.convert("HSV").split())
        bins = (hue * config.hues) >> 8
        bins = bins * config.saturations + ((saturation * config.saturations) >> 8)
        return np.asarray(bins * config.brightnesses + ((brightness * config.brightnesses) >> 8))
