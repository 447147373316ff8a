"""Categories as indicators, and how frequent they are: what a linear model and a tree need of them.

A category that training did not hold has no indicator and the frequency 0, as those beyond the most frequent ones have
no indicator. Hashed categories have one for each bucket, or share some where there are fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.category.record import CategoryColumn

__all__ = ["OneHotConfig", "OneHotExtractor"]


@dataclass(frozen=True, kw_only=True)
class OneHotConfig(FeatureConfig):
    """One indicator for each category, and the share of training cells that hold it.

    Attributes:
        max_categories: The most frequent ones have an indicator each, at most this many.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"category"})
    type: Literal["one_hot"] = "one_hot"
    max_categories: PositiveInt = 512


class OneHotExtractor(ItemFeatureExtractor, config=OneHotConfig):
    """0 or 1 for each category, the most frequent first, then the category's own share of the training cells."""

    is_scaled = False

    def __init__(self, config: OneHotConfig, column: Column) -> None:
        super().__init__(config, column)
        record = CategoryColumn.of(column)
        self.is_hashed = record.is_hashed
        self.num_ids = record.num_categories - 1
        self.num_indicators = min(self.num_ids, config.max_categories)
        self._shares: dict[int, float] = {}

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return self.num_indicators + 1

    def fit(self, cells: Iterable[object], items: Iterable[Sequence[np.ndarray]]) -> None:
        """See `FeatureExtractor`."""
        ids, counts = np.unique([int(item[0]) for each in items for item in each], return_counts=True)
        self._shares = {int(key): float(count / counts.sum()) for key, count in zip(ids, counts, strict=True) if key}

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is int64 [1], or [hashes], 0 where training did not hold it."""
        vector = np.zeros(self.num_features)
        for position in item:
            at = int(position) - 1
            if self.is_hashed:
                vector[at % self.num_indicators] = 1.0
            elif 0 <= at < self.num_indicators:
                vector[at] = 1.0
        vector[-1] = self._shares.get(int(item[0]), 0.0)
        return vector

    def state(self) -> dict[str, Any]:
        """See `FeatureExtractor`."""
        return {"shares": [[key, share] for key, share in self._shares.items()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `FeatureExtractor`."""
        self._shares = {int(key): float(share) for key, share in state["shares"]}
