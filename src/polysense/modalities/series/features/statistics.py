"""Statistics of a time series: its level, spread and shape, channel by channel, and how channels move together.

A course of 16 means, one for each part of the series, says when something happens: a movement is told from another by
that more than by its moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.series.features.steps import filled, segment_means
from polysense.modalities.series.record import SeriesColumn

__all__ = ["SeriesStatisticsConfig", "SeriesStatisticsExtractor"]

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_PER_CHANNEL = 13 + len(_QUANTILES)
_MOST_PAIRED = 12  # channels: 66 pairs
_FLAT = 1e-9


@dataclass(frozen=True, kw_only=True)
class SeriesStatisticsConfig(FeatureConfig):
    """Moments, quantiles, changes and course of each channel, and correlations between channels.

    Attributes:
        parts: Equal parts of the series, whose means are its course.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"series"})
    type: Literal["series_statistics"] = "series_statistics"
    parts: PositiveInt = 16


class SeriesStatisticsExtractor(ItemFeatureExtractor, config=SeriesStatisticsConfig):
    """Of each channel 18 statistics and its course; correlations, where there are 12 channels or fewer; log length."""

    def __init__(self, config: SeriesStatisticsConfig, column: Column) -> None:
        super().__init__(config, column)
        self.parts = config.parts
        self.num_channels = SeriesColumn.of(column).num_channels

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        pairs = self.num_channels * (self.num_channels - 1) // 2 if self.num_channels <= _MOST_PAIRED else 0
        return self.num_channels * (_PER_CHANNEL + self.parts) + pairs + 1

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is float32 [steps, channels], NaN where not measured."""
        values = filled(item)
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        standard = (values - mean) / np.maximum(deviation, _FLAT)
        ordered = np.sort(values, axis=0)
        changes = np.diff(values, axis=0) if len(values) > 1 else np.zeros_like(values)
        at = np.linspace(-1.0, 1.0, len(values))[:, None] if len(values) > 1 else np.zeros((1, 1))
        sides = standard > 0
        rows = [
            mean,
            deviation,
            ordered[0],
            ordered[-1],
            *(ordered[int(share * (len(ordered) - 1) + 0.5)] for share in _QUANTILES),
            (standard**3).mean(axis=0),
            (standard**4).mean(axis=0),
            (at * (values - mean)).sum(axis=0) / max(float((at * at).sum()), _FLAT),  # slope
            np.abs(changes).mean(axis=0),
            changes.std(axis=0),
            (sides[1:] != sides[:-1]).mean(axis=0) if len(values) > 1 else np.zeros(len(mean)),
            np.sqrt((values * values).mean(axis=0)),
            values.argmax(axis=0) / len(values),
            np.isnan(item).mean(axis=0),
            *segment_means(values, self.parts),
        ]
        parts = [np.ravel(rows)]
        if self.num_channels <= _MOST_PAIRED:
            parts += [(standard[:, [i]] * standard[:, i + 1 :]).mean(axis=0) for i in range(self.num_channels - 1)]
        return np.concatenate([*parts, [np.log(len(item))]])
