"""Spectrum of a time series: how much of each channel's movement is slow and how much is fast.

Bands are equally wide in octaves of the steps' own rate, so series of all lengths have the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.series.features.steps import filled
from polysense.modalities.series.record import SeriesColumn

__all__ = ["SeriesSpectrumConfig", "SeriesSpectrumExtractor"]

_LEAST = 1e-9


@dataclass(frozen=True, kw_only=True)
class SeriesSpectrumConfig(FeatureConfig):
    """Energy in bands of frequency, centroid and strongest frequency of each channel.

    Attributes:
        octaves: Bands: from half the rate down, each half as high and half as wide as the one above; the last one goes
            down to 0.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"series"})
    type: Literal["series_spectrum"] = "series_spectrum"
    octaves: PositiveInt = 7


class SeriesSpectrumExtractor(ItemFeatureExtractor, config=SeriesSpectrumConfig):
    """Of each channel the log energy per step, its shares by octave, centroid, strongest frequency and entropy."""

    def __init__(self, config: SeriesSpectrumConfig, column: Column) -> None:
        super().__init__(config, column)
        self.octaves = config.octaves
        self.num_channels = SeriesColumn.of(column).num_channels

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return self.num_channels * (self.octaves + 4)

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is float32 [steps, channels], NaN where not measured."""
        values = filled(item)
        # A Hann window: the jump from a series' end to its beginning would spread over all bands.
        window = np.hanning(len(values) + 2)[1:-1, None]
        power = np.abs(np.fft.rfft((values - values.mean(axis=0)) * window, axis=0)) ** 2
        at = np.linspace(0.0, 1.0, len(power)) if len(power) > 1 else np.zeros(1)  # 1 is half the rate
        total = power.sum(axis=0)
        share = power / np.maximum(total, _LEAST)
        band = np.minimum(np.floor(-np.log2(np.maximum(at, 2.0**-self.octaves))), self.octaves - 1).astype(np.int64)
        shares = np.zeros((self.octaves, values.shape[1]))
        np.add.at(shares, band, share)
        entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=0) / max(np.log(len(power)), 1.0)
        energy = np.log(total / len(values) ** 2 + _LEAST)
        return np.concatenate(
            [energy, shares.ravel(), (at[:, None] * share).sum(axis=0), at[power.argmax(axis=0)], entropy]
        )
