"""Statistics of a sound's mel bands over time: which pitches it has, how loud, and how fast they change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.audio.features.spectra import log_mel, over_time, spectra
from polysense.modalities.audio.record import AudioColumn

__all__ = ["LogMelStatisticsConfig", "LogMelStatisticsExtractor"]


@dataclass(frozen=True, kw_only=True)
class LogMelStatisticsConfig(FeatureConfig):
    """Mean, deviation and quantiles over time of the log-mel spectrogram, and of its changes.

    Attributes:
        num_mels: Mel bands.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})
    type: Literal["log_mel_statistics"] = "log_mel_statistics"
    num_mels: PositiveInt = 40


class LogMelStatisticsExtractor(ItemFeatureExtractor, config=LogMelStatisticsConfig):
    """Seven statistics of each band; see `over_time`."""

    def __init__(self, config: LogMelStatisticsConfig, column: Column) -> None:
        super().__init__(config, column)
        self.num_mels = config.num_mels
        self.sample_rate = AudioColumn.of(column).sample_rate

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return 7 * self.num_mels

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is int16 [samples]."""
        return over_time(log_mel(spectra(item, self.sample_rate), self.num_mels))
