"""Feature vectors without weights: a fixed number of numbers about a cell, made in preprocessing, before any network.

On a small table a linear model or a forest over such numbers (gradients of an image, the bands of a sound, the words of
a text) is hard to beat, and it is fitted in seconds; a network learns them anew from nothing. An extractor learns
little (which words there are, how large its numbers usually are) and from training cells only. Its vector is a function
of its own cell alone, by numpy without threads, so it is the same in every process.

Numbers of different units stand side by side, so each is centered and scaled by the training cells. Far outliers grow
by their logarithm: their order stays, and one mistyped value does not move all others. One that is equal in all
training cells says nothing, and is 0. Counts and shares that are sparse (words, categories) are left as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from polysense.config.base import Configured, Family
from polysense.config.codec import from_dict, to_dict
from polysense.core.registry import modalities, modality
from polysense.core.schema import Column
from polysense.errors import ColumnError, ConfigError

__all__ = [
    "FAR",
    "CellFeatures",
    "FeatureConfig",
    "FeatureExtractor",
    "ItemFeatureExtractor",
    "compressed",
]

FAR = 10.0
"""Deviations, beyond which a value counts by its logarithm."""

_CONSTANT = 1e-6  # of the mean: a deviation below is rounding
_TINY = 1e-12
_BLOCK = 256  # vectors


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(Family, ABC, family="feature", homes=("modalities.*.features.*",)):
    """Numbers about a cell that need no trained weights."""

    modalities: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def reads(cls) -> frozenset[str]:
        """The modalities that it takes: its own, and those whose items are of these, as a video's frames are images."""
        return cls.modalities | {name for name, spec in modalities().items() if spec.item_modality in cls.modalities}

    def check(self, name: str, kind: str) -> None:
        """Raises ConfigError if a column of that name is of a modality that these features can't be made of."""
        if kind not in self.reads():
            raise ConfigError(
                f"data.features.{name}: {self.type!r} is made of {', '.join(sorted(self.reads()))}; column {name!r} is "
                f"{kind}. Take other features for it, or leave it out"
            )

    def create(self, column: Column) -> FeatureExtractor:
        """The extractor for a fitted column, not yet fitted itself.

        Raises:
            ConfigError: The column is of another modality.
        """
        self.check(column.name, column.modality)
        if column.modality not in self.modalities:
            column = modality(column.modality).item_column(column)
        if self.builds is None:
            raise ConfigError(f"the features {self.type!r} can't be made: no class names its config")
        extractor: FeatureExtractor = self.builds(self, column)
        return extractor


class FeatureExtractor(Configured, ABC):
    """Makes a fixed number of numbers of a cell.

    Args:
        config: The settings.
        column: The fitted column; of its items, where its modality's items are another's.

    Attributes:
        is_scaled: Whether its numbers are quantities, which are centered and scaled by the training cells.
    """

    is_scaled: ClassVar[bool] = True

    def __init__(self, config: FeatureConfig, column: Column) -> None:
        self.column = column

    @property
    @abstractmethod
    def num_features(self) -> int:
        """How many numbers it makes; known once it is fitted."""

    @abstractmethod
    def extract(self, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        """The numbers of a cell.

        Args:
            cell: As the table has it, not missing.
            items: What preprocessing made of it, at least one; not augmented.

        Returns:
            [features], of any type of numbers.
        """

    def fit(self, cells: Iterable[object], items: Iterable[Sequence[np.ndarray]]) -> None:
        """Learns from training cells; by default nothing.

        Args:
            cells: Those that are there.
            items: What preprocessing made of some of them; reading media takes time.
        """

    def state(self) -> dict[str, Any]:
        """What was learned, as plain values for JSON, which keeps every bit of a float."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""


class ItemFeatureExtractor(FeatureExtractor):
    """Makes numbers of each item; those of a cell are their mean."""

    @abstractmethod
    def extract_item(self, item: np.ndarray) -> np.ndarray:
        """The numbers of one item, [features]."""

    def extract(self, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        """See `FeatureExtractor`."""
        if len(items) == 1:
            return self.extract_item(items[0])
        return np.asarray(np.mean([self.extract_item(item) for item in items], axis=0, dtype=np.float64))


class CellFeatures:
    """All features of one column's cells, one after another.

    Args:
        configs: What they are.
        column: The fitted column.

    Raises:
        ConfigError: One of them can't be made of such a column.
    """

    def __init__(self, configs: Sequence[FeatureConfig], column: Column) -> None:
        self.configs = tuple(configs)
        self._name = column.name
        self._extractors = [config.create(column) for config in configs]
        self._mean = self._factor = np.zeros(0)

    @property
    def num_features(self) -> int:
        """Size of a cell's vector; known once fitted."""
        return len(self._mean)

    @property
    def slices(self) -> dict[str, slice]:
        """Which part of the vector each extractor makes, by its type."""
        start, result = 0, {}
        for config, extractor in zip(self.configs, self._extractors, strict=True):
            result[config.type] = slice(start, start + extractor.num_features)
            start += extractor.num_features
        return result

    def fit(self, cells: Iterable[object], examples: Sequence[tuple[object, Sequence[np.ndarray]]]) -> None:
        """Learns from training cells.

        Args:
            cells: Those that are there; read several times.
            examples: Some of them with their items.

        Raises:
            ColumnError: None of the examples has an item.
        """
        examples = [(cell, items) for cell, items in examples if items]
        if not examples:
            raise ColumnError(f"data.features.{self._name}: no training cell that was tried holds anything")
        for extractor in self._extractors:
            extractor.fit(cells, [items for _, items in examples])
        means, factors = [], []
        for extractor in self._extractors:
            mean, factor = np.zeros(extractor.num_features), np.ones(extractor.num_features)
            if extractor.is_scaled:
                mean, factor = _scaling([extractor.extract(*example) for example in examples])
            means.append(mean)
            factors.append(factor)
        self._mean, self._factor = np.concatenate(means), np.concatenate(factors)

    def extract(self, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        """A cell's vector.

        Args:
            cell: As the table has it, not missing.
            items: What preprocessing made of it, at least one.

        Returns:
            float32 [features], finite.
        """
        vector = np.empty(len(self._mean), dtype=np.float32)
        start = 0
        for extractor in self._extractors:
            part = np.asarray(extractor.extract(cell, items), dtype=np.float64)
            here = slice(start, start + len(part))
            if not (finite := np.isfinite(part)).all():
                part = np.where(finite, part, self._mean[here])  # which says nothing, as a constant does
            if extractor.is_scaled:
                part = compressed((part - self._mean[here]) * self._factor[here])
            vector[here] = part
            start = here.stop
        return vector

    def plain(self) -> dict[str, Any]:
        """Everything that `restored` needs, as plain values for JSON."""
        extractors = [
            {"config": to_dict(config), "state": extractor.state()}
            for config, extractor in zip(self.configs, self._extractors, strict=True)
        ]
        return {"extractors": extractors, "mean": self._mean.tolist(), "factor": self._factor.tolist()}

    @staticmethod
    def restored(plain: Mapping[str, Any], column: Column) -> CellFeatures:
        """Rebuilds what `plain` gave.

        Raises:
            ValueError: Its parts are not of one size, or not of the column's.
        """
        configs = [from_dict(FeatureConfig, each["config"], where="the saved features") for each in plain["extractors"]]
        features = CellFeatures(configs, column)
        for extractor, each in zip(features._extractors, plain["extractors"], strict=True):
            extractor.restore(each["state"])
        features._mean, features._factor = np.array(plain["mean"], float), np.array(plain["factor"], float)
        sizes = {
            "extractors": sum(extractor.num_features for extractor in features._extractors),
            "mean": features._mean.size,
            "factor": features._factor.size,
        }
        for name, size in sizes.items():
            if size != column.num_features:
                raise ValueError(f"features: found {size} in {name}, expected {column.num_features} as the column has")
        return features


def compressed(values: np.ndarray) -> np.ndarray:
    """Values in deviations: linear up to 10, beyond by the logarithm. Their order stays."""
    size = np.abs(values)
    beyond = np.maximum(size - FAR, 0.0)
    return np.asarray(np.sign(values) * (np.minimum(size, FAR) + np.log1p(beyond)))


def _scaling(vectors: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and one over the deviation, of each number; 0 for the latter where it is the same in all vectors."""
    total, squares = np.zeros(len(vectors[0])), np.zeros(len(vectors[0]))
    # A few hundred at once: one by one numpy's calls take longer than its sums, all at once they need the memory twice.
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(vectors), _BLOCK)]
    for block in blocks:
        values = np.stack(vectors[block])
        total += np.where(np.isfinite(values), values, 0.0).sum(axis=0)
    mean = total / len(vectors)
    for block in blocks:
        values = np.stack(vectors[block])
        squares += ((np.where(np.isfinite(values), values, mean) - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / len(vectors))
    varies = deviation > np.maximum(_CONSTANT * np.abs(mean), _TINY)
    return mean, np.divide(1.0, deviation, out=np.zeros_like(mean), where=varies)
