"""A sound in parts: stretches of time. A removed stretch is silent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polysense.core.cell_parts import StretchParts
from polysense.core.geometry import Placement
from polysense.core.modality_spec import FittedColumn
from polysense.modalities.audio.record import AudioColumn

__all__ = ["AudioParts", "audio_parts"]

_SHORTEST = 0.02  # seconds of a stretch: less says nothing of a pitch


def audio_parts(
    fitted: FittedColumn,
    cell: object,
    root: Path,
    items: Sequence[np.ndarray],
    most: int,
    placement: Placement | None = None,
) -> AudioParts:
    """The stretches of a cell's clips; see `core.modality_spec.MakeParts`."""
    return AudioParts(cell, items, AudioColumn.of(fitted.column).sample_rate, most)


class AudioParts(StretchParts):
    """The stretches of one clip, or of several."""

    removed, blank, noun = "silent", 0, "clip"

    def __init__(self, cell: object, items: Sequence[np.ndarray], rate: int, most: int) -> None:
        self._rate = rate
        super().__init__(cell, items, most, round(_SHORTEST * rate))

    def named(self, start: int, end: int) -> str:
        """In seconds."""
        return f"{start / self._rate:.2f} to {end / self._rate:.2f} s"
