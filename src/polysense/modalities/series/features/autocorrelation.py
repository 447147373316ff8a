"""Autocorrelation of a time series: how like itself a channel is some steps later, which rhythm shows in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.series.features.steps import filled
from polysense.modalities.series.record import SeriesColumn

__all__ = ["AutocorrelationConfig", "AutocorrelationExtractor"]

_LEAST = 1e-9


@dataclass(frozen=True, kw_only=True)
class AutocorrelationConfig(FeatureConfig):
    """Correlation of each channel with itself some steps later.

    Attributes:
        lags: Steps.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"series"})
    type: Literal["autocorrelation"] = "autocorrelation"
    lags: tuple[int, ...] = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lags or min(self.lags) < 1:
            raise ValueError("lags: expected at least one, each of 1 step or more")


class AutocorrelationExtractor(ItemFeatureExtractor, config=AutocorrelationConfig):
    """The biased estimate, from -1 to 1; 0 where a series is shorter than the lag or does not change."""

    def __init__(self, config: AutocorrelationConfig, column: Column) -> None:
        super().__init__(config, column)
        self.lags = config.lags
        self.num_channels = SeriesColumn.of(column).num_channels

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return self.num_channels * len(self.lags)

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is float32 [steps, channels], NaN where not measured."""
        centered = filled(item)
        centered -= centered.mean(axis=0)
        power = np.maximum((centered * centered).sum(axis=0), _LEAST)
        nothing = np.zeros(centered.shape[1])
        return np.concatenate(
            [
                (centered[lag:] * centered[:-lag]).sum(axis=0) / power if lag < len(centered) else nothing
                for lag in self.lags
            ]
        )
