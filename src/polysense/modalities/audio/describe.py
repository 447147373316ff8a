"""Numbers that describe an audio clip: its duration and its loudness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from polysense.core.descriptor import Descriptor
from polysense.core.schema import Column
from polysense.modalities.audio.record import AudioColumn

__all__ = ["DESCRIPTORS"]

_FULL_SCALE = 32768.0
_SILENCE = 1e-5  # of full scale, -100 dB


def _duration(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """Seconds, of all clips together."""
    return sum(len(item) for item in items) / AudioColumn.of(column).sample_rate


def _loudness(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The root mean square in decibels of full scale."""
    samples = np.concatenate([item.astype(np.float32) for item in items])
    if not len(samples):
        return math.nan
    level = float(np.sqrt(np.mean(samples**2, dtype=np.float64))) / _FULL_SCALE
    return 20 * math.log10(max(level, _SILENCE))


DESCRIPTORS = (
    Descriptor(
        name="duration",
        low="{column} shorter than {value} s",
        high="{column} of {value} s or longer",
        measure=_duration,
    ),
    Descriptor(
        name="loudness",
        low="{column} quieter than {value} dBFS",
        high="{column} of {value} dBFS or louder",
        measure=_loudness,
    ),
)
