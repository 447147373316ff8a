"""Likeness of images: the signs of the gradients of a small copy, per channel, as difference hashes have them.

Per channel, because icons of one shape in two colors are two icons; with a dead zone, because the sign of what is flat
is noise of the file format.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.likeness import FEWEST_SIGNS, Likeness
from polysense.core.schema import Column

__all__ = ["LIKENESS", "gradient_signs"]

_SIDE = 13  # pixels of the small copy, so 2 * 12 * 13 gradients a channel
_FLAT = 4.0  # of 255, below which a gradient is none
_THRESHOLD = 0.85


def gradient_signs(pixels: np.ndarray) -> np.ndarray:
    """int8 [components] of uint8 [channels, height, width]."""
    small = _shrunk(_shrunk(pixels.astype(np.float32), 1), 2)
    gradients = [np.diff(small, axis=1).ravel(), np.diff(small, axis=2).ravel()]
    values = np.concatenate(gradients)
    return np.asarray(np.sign(values) * (np.abs(values) >= _FLAT), dtype=np.int8)


def _shrunk(values: np.ndarray, axis: int) -> np.ndarray:
    """Means over equal stretches of an axis; where it is shorter than these, its values are repeated."""
    size = values.shape[axis]
    if size < _SIDE:
        return np.asarray(np.take(values, np.arange(_SIDE) * size // _SIDE, axis=axis))
    edges = np.arange(_SIDE + 1) * size // _SIDE
    sums = np.add.reduceat(values, edges[:-1], axis=axis)
    shape = [1, 1, 1]
    shape[axis] = _SIDE
    return np.asarray(sums / np.diff(edges).reshape(shape))


def _signature(column: Column, cell: object, items: Sequence[np.ndarray]) -> np.ndarray | None:
    if len(items) != 1:
        return None
    signs = gradient_signs(items[0])
    return signs if np.count_nonzero(signs) >= FEWEST_SIGNS else None


LIKENESS = Likeness(signature=_signature, threshold=_THRESHOLD)
