"""Parts of a date: the time that has passed, and where in the year, the month, the week and the day it lies.

An item holds them already (`column.date_features`), cyclic ones as sine and cosine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.date.record import DateColumn

__all__ = ["DatePartsConfig", "DatePartsExtractor"]


@dataclass(frozen=True, kw_only=True)
class DatePartsConfig(FeatureConfig):
    """A date's time, and its place in the year, the month, the week and the day."""

    modalities: ClassVar[frozenset[str]] = frozenset({"date"})
    type: Literal["date_parts"] = "date_parts"


class DatePartsExtractor(ItemFeatureExtractor, config=DatePartsConfig):
    """The parts of an item as they are."""

    def __init__(self, config: DatePartsConfig, column: Column) -> None:
        super().__init__(config, column)
        self.num_values = DateColumn.of(column).num_values

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return self.num_values

    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """See `ItemFeatureExtractor`; the item is float32 [values]."""
        return item
