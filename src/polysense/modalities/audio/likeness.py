"""Likeness of sounds: how the energy of neighboring bands changes in time, as an audio fingerprint.

The signs of differences over time and frequency withstand another volume, another format and a little noise (Haitsma
and Kalker, "A Highly Robust Audio Fingerprinting System", 2002, section 4). Here silence at both ends is left out, and
the rest is divided into a fixed number of stretches, so that clips are compared as a whole: one that was cut out of
another is not its copy.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from polysense.core.likeness import FEWEST_SIGNS, Likeness
from polysense.core.schema import Column
from polysense.modalities.audio.features.spectra import log_mel, spectra
from polysense.modalities.audio.record import AudioColumn

__all__ = ["LIKENESS"]

_BANDS, _STRETCHES = 20, 32
_SILENT = 4.0  # powers of ten below the loudest frame: 40 dB
_FLAT = 0.05  # powers of ten, half a decibel
_FEWEST_FRAMES = 8  # hundredths of a second
_LONGEST = 60  # seconds that are looked at
_THRESHOLD = 0.65


def _signature(column: Column, cell: object, items: Sequence[np.ndarray]) -> np.ndarray | None:
    rate = AudioColumn.of(column).sample_rate
    samples = items[0][: _LONGEST * rate]
    if len(items) != 1 or not samples.any():
        return None
    bands = log_mel(spectra(samples, rate), _BANDS)
    loud = np.flatnonzero(bands.max(axis=1) >= bands.max() - _SILENT)
    bands = bands[loud[0] : loud[-1] + 1]
    if len(bands) < _FEWEST_FRAMES:
        return None
    edges = np.linspace(0, len(bands), _STRETCHES + 1)
    means = np.stack(
        [bands[int(low) : max(int(high), int(low) + 1)].mean(axis=0) for low, high in itertools.pairwise(edges)]
    )
    changes = np.diff(np.diff(means, axis=1), axis=0).ravel()
    signs = np.asarray(np.sign(changes) * (np.abs(changes) >= _FLAT), dtype=np.int8)
    return signs if np.count_nonzero(signs) >= FEWEST_SIGNS else None


LIKENESS = Likeness(signature=_signature, threshold=_THRESHOLD)
