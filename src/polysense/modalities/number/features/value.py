"""A number as a linear model and as a rank would have it: its value, and the share of training values below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.schema import Column
from polysense.data.features import FAR, FeatureConfig, ItemFeatureExtractor, compressed

__all__ = ["NumberFeaturesConfig", "NumberFeaturesExtractor"]

_MOST_KNOTS = 1_001


@dataclass(frozen=True, kw_only=True)
class NumberFeaturesConfig(FeatureConfig):
    """A number's value, and its quantile among the training values."""

    modalities: ClassVar[frozenset[str]] = frozenset({"number"})
    type: Literal["value_and_quantile"] = "value_and_quantile"


class NumberFeaturesExtractor(ItemFeatureExtractor, config=NumberFeaturesConfig):
    """(value in the column's scale, quantile from 0 to 1)."""

    num_features = 2

    def __init__(self, config: NumberFeaturesConfig, column: Column) -> None:
        super().__init__(config, column)
        self._values = self._quantiles = np.zeros(0)

    def fit(self, cells: Iterable[object], items: Iterable[Sequence[np.ndarray]]) -> None:
        """See `FeatureExtractor`."""
        values = np.sort(np.concatenate([np.ravel(item) for each in items for item in each]).astype(np.float64))
        values, counts = np.unique(values, return_counts=True)
        # Of equal values the middle of their ranks.
        quantiles = (np.cumsum(counts) - counts / 2) / counts.sum()
        if len(values) > _MOST_KNOTS:
            chosen = np.unique(np.searchsorted(quantiles, np.linspace(0, quantiles[-1], _MOST_KNOTS)))
            values, quantiles = values[chosen], quantiles[chosen]
        self._values, self._quantiles = values, quantiles

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is float32 [1], in the column's scale."""
        value = float(item[0])
        quantile = float(np.interp(value, self._values, self._quantiles))
        # The same for nearly all values, at a tenth of the time.
        size = value if abs(value) <= FAR else float(compressed(np.array(value)))
        return np.array([size, quantile])

    def state(self) -> dict[str, Any]:
        """See `FeatureExtractor`."""
        return {"values": self._values.tolist(), "quantiles": self._quantiles.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `FeatureExtractor`."""
        self._values, self._quantiles = np.array(state["values"], float), np.array(state["quantiles"], float)
