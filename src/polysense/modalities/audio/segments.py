"""Where segments lie in an audio clip: between its seconds and its samples."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polysense.core.modality_spec import FittedColumn
from polysense.core.segment_aligner import CellSegment, SegmentAligner
from polysense.errors import DecodeError
from polysense.modalities.audio.decode import audio_info
from polysense.modalities.audio.record import AudioColumn

__all__ = ["AudioAligner", "align_audio"]

_SLACK = 0.05  # seconds that an annotation may run over a clip's end: rounding, a resampled copy


def align_audio(
    fitted: FittedColumn, cell: object, root: Path, items: Sequence[np.ndarray], length: int | None
) -> AudioAligner:
    """The aligner of one cell; see `ModalitySpec.aligner`."""
    if isinstance(cell, list) and len(cell) != 1:
        raise DecodeError(f"found {len(cell)} audio clips in column {fitted.name!r}, expected one")
    rate = AudioColumn.of(fitted.column).sample_rate
    if length is None and len(items):
        length = len(items[0])
    if length is None:
        source_rate, frames, _ = audio_info(cell[0] if isinstance(cell, list) else cell, root)
        length = round(frames * rate / source_rate)
    return AudioAligner(rate, length)


class AudioAligner(SegmentAligner):
    """Seconds of an audio clip, and its samples."""

    unit = "seconds"
    slack = _SLACK

    def __init__(self, sample_rate: int, num_samples: int) -> None:
        self._rate = sample_rate
        self.length = num_samples
        self.extent = num_samples / sample_rate

    def positions(self, num_labels: int) -> list[tuple[float, float]]:
        edges = np.linspace(0.0, self.extent, num_labels + 1).tolist()
        return list(itertools.pairwise(edges))

    def steps(self, start: float, end: float) -> tuple[float, float] | None:
        first, last = start * self._rate, min(end * self._rate, float(self.length))
        return (first, last) if last > first else None

    def terms(self, start: float, end: float) -> CellSegment:
        return CellSegment(round(start / self._rate, 3), round(end / self._rate, 3))
