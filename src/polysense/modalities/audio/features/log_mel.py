"""A sound's log-mel spectrogram itself, of one size whatever the clip's length.

Too many numbers for a linear model of few clips; what is made of them (synthetic rows of a rare class) is a spectrogram
that can be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int16

from polysense.config.limits import PositiveInt
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.audio.features.spectra import log_mel, spectra
from polysense.modalities.audio.record import AudioColumn

__all__ = ["LogMelConfig", "LogMelExtractor"]


@dataclass(frozen=True, kw_only=True)
class LogMelConfig(FeatureConfig):
    """The log-mel spectrogram, a clip's frames averaged in spans of equal length.

    Attributes:
        num_spans: Spans of time that each clip is cut into.
        num_mels: Mel bands.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})
    type: Literal["log_mel"] = "log_mel"
    num_spans: PositiveInt = 32
    num_mels: PositiveInt = 32


class LogMelExtractor(ItemFeatureExtractor, config=LogMelConfig):
    """[spans, mels], one span after the other; each frame is 10 ms. A clip of fewer frames repeats them."""

    def __init__(self, config: LogMelConfig, column: Column) -> None:
        super().__init__(config, column)
        self.num_spans, self.num_mels = config.num_spans, config.num_mels
        self.sample_rate = AudioColumn.of(column).sample_rate

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return self.num_spans * self.num_mels

    def extract_item(self, item: Int16[np.ndarray, " samples"]) -> Float[np.ndarray, " spans_mels"]:
        """See `ItemFeatureExtractor`."""
        frames = log_mel(spectra(item, self.sample_rate), self.num_mels)
        bounds = np.linspace(0, len(frames), self.num_spans + 1)
        starts = np.floor(bounds[:-1]).astype(np.int64)
        stops = np.maximum(np.ceil(bounds[1:]).astype(np.int64), starts + 1)
        # A sum for each span alone: a difference of running sums would have rounded what came before.
        return np.concatenate([frames[start:stop].mean(axis=0) for start, stop in zip(starts, stops, strict=True)])
