"""Statistics of mel-frequency cepstral coefficients: the shape of a sound's spectrum without its pitch.

Davis and Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition in Continuously
Spoken Sentences", 1980: the orthonormal cosine transform of the log-mel bands, of which the first coefficients are
kept; their changes over five frames (Furui, "Speaker-independent isolated word recognition using dynamic features of
speech spectrum", 1986), and the changes of these, tell how the sound moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.audio.features.spectra import log_mel, over_time, spectra
from polysense.modalities.audio.record import AudioColumn

__all__ = ["MfccStatisticsConfig", "MfccStatisticsExtractor", "deltas"]

_REACH = 2


@dataclass(frozen=True, kw_only=True)
class MfccStatisticsConfig(FeatureConfig):
    """Mean, deviation and quantiles over time of the cepstral coefficients, and of their first and second changes.

    Attributes:
        num_coefficients: Coefficients, the first of which is the loudness.
        num_mels: Mel bands that they are made of.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})
    type: Literal["mfcc_statistics"] = "mfcc_statistics"
    num_coefficients: PositiveInt = 20
    num_mels: PositiveInt = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_coefficients > self.num_mels:
            raise ValueError(f"num_coefficients: expected at most num_mels ({self.num_mels})")


class MfccStatisticsExtractor(ItemFeatureExtractor, config=MfccStatisticsConfig):
    """Five statistics of each coefficient, and two of its first and of its second changes."""

    def __init__(self, config: MfccStatisticsConfig, column: Column) -> None:
        super().__init__(config, column)
        self.num_mels, self.num_coefficients = config.num_mels, config.num_coefficients
        self.sample_rate = AudioColumn.of(column).sample_rate

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return 9 * self.num_coefficients

    @cached_property
    def _cosines(self) -> np.ndarray:
        """The orthonormal cosine transform, [mels, coefficients]."""
        bands = np.arange(self.num_mels)[:, None] + 0.5
        transform = np.sqrt(2 / self.num_mels) * np.cos(
            np.pi / self.num_mels * bands * np.arange(self.num_coefficients)
        )
        transform[:, 0] /= np.sqrt(2)
        return np.asarray(transform)

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is int16 [samples]."""
        coefficients = self.coefficients(item)
        first = deltas(coefficients)
        parts = [over_time(coefficients, deltas=False)]
        for change in (first, deltas(first)):
            parts += [np.abs(change).mean(axis=0), change.std(axis=0)]
        return np.concatenate(parts)

    def coefficients(self, samples: np.ndarray) -> np.ndarray:
        """The coefficients of each frame, [frames, coefficients]."""
        bands = log_mel(spectra(samples, self.sample_rate), self.num_mels)
        return np.asarray(
            np.einsum("fm,mc->fc", bands, self._cosines)
        )  # without threads, as a product by BLAS would not be


def deltas(values: np.ndarray) -> np.ndarray:
    """The slope of the line through five frames, of each number; beyond its ends a clip stays as it is there."""
    padded = np.pad(values, ((_REACH, _REACH), (0, 0)), mode="edge")
    total = np.zeros_like(values)
    for step in range(1, _REACH + 1):
        later, earlier = padded[_REACH + step :][: len(values)], padded[_REACH - step :][: len(values)]
        total += step * (later - earlier)
    return total / (2 * sum(step * step for step in range(1, _REACH + 1)))
