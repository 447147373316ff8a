"""Likeness of time series: where each channel lies above and below its own mean, over a fixed number of stretches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.likeness import FEWEST_SIGNS, Likeness
from polysense.core.schema import Column

__all__ = ["LIKENESS"]

_STRETCHES = 48
_FLAT = 0.1  # of a channel's deviation
_THRESHOLD = 0.95


def _signature(column: Column, cell: object, items: Sequence[np.ndarray]) -> np.ndarray | None:
    if len(items) != 1 or len(items[0]) < _STRETCHES:
        return None
    values = np.asarray(items[0], dtype=np.float64)
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    centered = np.where(known, values - mean, 0.0)
    deviation = np.sqrt((centered**2).sum(axis=0) / count)
    edges = np.arange(_STRETCHES) * len(values) // _STRETCHES
    sizes = np.diff([*edges, len(values)])[:, None]
    means = np.add.reduceat(centered, edges, axis=0) / sizes
    changes = np.diff(means, axis=0)
    strong = np.abs(np.concatenate([means, changes])) >= np.maximum(_FLAT * deviation, 1e-12)
    signs = np.asarray(np.sign(np.concatenate([means, changes])) * strong, dtype=np.int8).ravel()
    return signs if np.count_nonzero(signs) >= FEWEST_SIGNS else None


LIKENESS = Likeness(signature=_signature, threshold=_THRESHOLD)
