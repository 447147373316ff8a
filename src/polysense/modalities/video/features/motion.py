"""Motion energy: how much changes from one frame to the next, and where in the picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, FeatureExtractor

__all__ = ["MotionEnergyConfig", "MotionEnergyExtractor"]


@dataclass(frozen=True, kw_only=True)
class MotionEnergyConfig(FeatureConfig):
    """How much changes between a video's frames, in each part of the picture: mean, deviation and maximum over time.

    Attributes:
        cells: Parts along the height and the width.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"video"})
    type: Literal["motion_energy"] = "motion_energy"
    cells: PositiveInt = 4


class MotionEnergyExtractor(FeatureExtractor, config=MotionEnergyConfig):
    """Mean absolute differences of neighboring frames, in shares of the full range; zeros where there is one frame."""

    def __init__(self, config: MotionEnergyConfig, column: Column) -> None:
        super().__init__(config, column)
        _, height, width = modality(column.modality).item_shape(column, 1)
        self.edges = [
            np.unique(np.arange(min(config.cells, side)) * side // min(config.cells, side)) for side in (height, width)
        ]

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return 3 * len(self.edges[0]) * len(self.edges[1])

    def extract(self, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        """See `FeatureExtractor`; items are frames, uint8 [channels, height, width]."""
        energies = [self._energy(before, after) for before, after in itertools.pairwise(items)]
        if not energies:
            return np.zeros(self.num_features)
        over_time = np.array(energies)
        return np.concatenate([over_time.mean(axis=0), over_time.std(axis=0), over_time.max(axis=0)])

    def _energy(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Of two frames, [cells]."""
        change = np.abs(after.astype(np.int16) - before).sum(axis=0, dtype=np.float64)
        sums = np.add.reduceat(np.add.reduceat(change, self.edges[0], axis=0), self.edges[1], axis=1)
        channels, height, width = before.shape
        sizes = np.outer(np.diff(self.edges[0], append=height), np.diff(self.edges[1], append=width))
        return np.ravel(sums / (255 * channels * sizes))
