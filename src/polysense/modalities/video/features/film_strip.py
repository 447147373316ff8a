"""Film strip: what each part of the picture's brightness is at each time.

For videos whose frames are aligned (a face, a hand, a machine, before one camera) a linear model of these numbers reads
what moves when, without a network, from a few hundred videos. Parts are coarse on purpose: finer ones know more and are
harder to learn from (dev/LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, FeatureExtractor

__all__ = ["FilmStripConfig", "FilmStripExtractor"]


@dataclass(frozen=True, kw_only=True)
class FilmStripConfig(FeatureConfig):
    """The brightness of each part of the picture at each of some evenly spaced times.

    Attributes:
        cells: Parts along the picture's shorter side; along the other as many as make them square.
        times: Frames that are looked at; of a video with fewer some count twice.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"video"})
    type: Literal["film_strip"] = "film_strip"
    cells: PositiveInt = 6
    times: PositiveInt = 24


class FilmStripExtractor(FeatureExtractor, config=FilmStripConfig):
    """Mean brightness, 0 to 1, of parts of frames, one frame after another; zeros where there is none."""

    def __init__(self, config: FilmStripConfig, column: Column) -> None:
        super().__init__(config, column)
        _, height, width = modality(column.modality).item_shape(column, 1)
        shorter = min(height, width)
        parts = [min(max(round(config.cells * side / shorter), 1), side) for side in (height, width)]
        self.edges = [np.arange(part) * side // part for part, side in zip(parts, (height, width), strict=True)]
        self.times = min(config.times, max(column.max_items, 1))

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return self.times * len(self.edges[0]) * len(self.edges[1])

    def extract(self, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        """See `FeatureExtractor`; items are frames, uint8 [channels, height, width]."""
        if not items:
            return np.zeros(self.num_features)
        places = (2 * np.arange(self.times) + 1) * len(items) // (2 * self.times)
        parts = {place: self._parts(items[place]) for place in set(places.tolist())}
        return np.concatenate([parts[place] for place in places.tolist()])

    def _parts(self, frame: np.ndarray) -> np.ndarray:
        """Of one frame, [parts]."""
        rows, columns = self.edges
        gray = frame.mean(axis=0, dtype=np.float64)
        sums = np.add.reduceat(np.add.reduceat(gray, rows, axis=0), columns, axis=1)
        sizes = np.outer(np.diff(rows, append=gray.shape[0]), np.diff(columns, append=gray.shape[1]))
        return np.ravel(sums / (255 * sizes))
