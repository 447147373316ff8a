"""Shape of a sound's spectrum over time: where its energy lies, how spread, how noisy, how loud, how long.

Centroid, bandwidth, rolloff and flatness are librosa's (McFee et al., "librosa: Audio and Music Signal Analysis in
Python", 2015), in shares of half the sample rate, over power spectra.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.audio.features.spectra import over_time, spectra
from polysense.modalities.audio.record import AudioColumn

__all__ = ["SpectralShapeConfig", "SpectralShapeExtractor"]

_NUM_DESCRIPTORS = 7
_ROLLOFF = 0.85
_SILENCE = 1.0  # power: that of a single step of one of 65536
_FULL_SCALE = 32768.0


@dataclass(frozen=True, kw_only=True)
class SpectralShapeConfig(FeatureConfig):
    """Centroid, bandwidth, rolloff, flatness and flux of the spectrum, zero crossings and loudness, over time."""

    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})
    type: Literal["spectral_shape"] = "spectral_shape"


class SpectralShapeExtractor(ItemFeatureExtractor, config=SpectralShapeConfig):
    """Seven statistics of each of seven descriptors, then the logarithm of the duration in seconds."""

    num_features = 7 * _NUM_DESCRIPTORS + 1

    def __init__(self, config: SpectralShapeConfig, column: Column) -> None:
        super().__init__(config, column)
        self.sample_rate = AudioColumn.of(column).sample_rate

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is int16 [samples]."""
        duration = math.log(max(len(item), 1) / self.sample_rate)
        return np.concatenate([over_time(self.descriptors(item)), [duration]])

    def descriptors(self, samples: np.ndarray) -> np.ndarray:
        """Of each frame, float64 [frames, 7]; of a silent frame the centroid, bandwidth and rolloff are 0."""
        power = spectra(samples, self.sample_rate).power
        num_frames, num_bins = power.shape
        at = np.linspace(0.0, 1.0, num_bins, dtype=np.float32)
        total = np.maximum(power.sum(axis=1), _SILENCE)
        share = power / total[:, None]
        centroid = np.einsum("fb,b->f", share, at)
        spread = np.sqrt(np.maximum(np.einsum("fb,b->f", share, at * at) - centroid**2, 0.0))
        rolloff = at[np.argmax(np.cumsum(share, axis=1) >= _ROLLOFF, axis=1)]
        floored = power + np.float32(_SILENCE)
        flatness = np.exp(np.log(floored).mean(axis=1)) / floored.mean(axis=1)
        flux = np.zeros(num_frames)
        flux[1:] = np.abs(np.diff(share, axis=0)).sum(axis=1)
        hop = max(self.sample_rate // 100, 1)
        blocks = np.zeros(num_frames * hop)
        blocks[: len(samples)] = samples[: num_frames * hop]
        negative = blocks < 0
        crossings = np.concatenate([[False], negative[1:] != negative[:-1]]).reshape(num_frames, hop).mean(axis=1)
        loudness = np.log10(np.sqrt(np.square(blocks.reshape(num_frames, hop)).mean(axis=1)) / _FULL_SCALE + 1e-5)
        return np.stack([centroid, spread, rolloff, flatness, flux, crossings, loudness], axis=1)
