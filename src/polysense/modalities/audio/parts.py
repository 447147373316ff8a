"""A sound in parts: stretches of time. A removed stretch is silent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from polysense.core.cell_parts import CellParts, Place, stretches
from polysense.core.modality_spec import FittedColumn
from polysense.modalities.audio.record import AudioColumn

__all__ = ["AudioParts", "audio_parts"]

_SHORTEST = 0.02  # seconds of a stretch: less says nothing of a pitch


def audio_parts(fitted: FittedColumn, cell: object, root: Path, items: Sequence[np.ndarray], most: int) -> AudioParts:
    """The stretches of a cell's clips; see `core.modality_spec.MakeParts`."""
    return AudioParts(cell, items, AudioColumn.of(fitted.column).sample_rate, most)


class AudioParts(CellParts):
    """The stretches of one clip, or of several."""

    removed = "silent"

    def __init__(self, cell: object, items: Sequence[np.ndarray], rate: int, most: int) -> None:
        self._cell, self._items = cell, list(items)
        self.places: list[Place] = []
        self._ranges: list[tuple[int, int, int]] = []
        share = max(1, most // len(self._items))
        for item, samples in enumerate(self._items):
            which = f"clip {item + 1}, " if len(self._items) > 1 else ""
            length = max(len(samples), 1)
            for start, end in stretches(len(samples), share, round(_SHORTEST * rate)):
                name = f"{which}{start / rate:.2f} to {end / rate:.2f} s"
                self.places.append(Place(item=item, name=name, box=(start / length, 0.0, end / length, 1.0)))
                self._ranges.append((item, start, end))

    def without(self, removed: Collection[int]) -> tuple[object, list[np.ndarray]]:
        items = dict(enumerate(self._items))
        for part in removed:
            item, start, end = self._ranges[part]
            if items[item] is self._items[item]:
                items[item] = self._items[item].copy()
            items[item][start:end] = 0
        return self._cell, list(items.values())
