"""Likeness of images: the signs of the gradients of a small copy, per channel, as difference hashes have them, and of
its colors.

Colors are the signs of the differences of channels, because a brown box and a gray one on white have gradients of the
same signs; all have a dead zone, because the sign of what is flat or gray is noise of the file format.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.likeness import FEWEST_SIGNS, Likeness
from polysense.core.schema import Column

__all__ = ["LIKENESS", "gradient_signs"]

_SIDE = 13  # pixels of the small copy, so 2 * 12 * 13 gradients and 13 * 13 colors a channel
_FLAT, _GRAY = 4.0, 12.0  # of 255, below which a gradient or a difference of channels is none
_THRESHOLD = 0.85


def gradient_signs(pixels: np.ndarray) -> np.ndarray:
    """int8 [components] of uint8 [channels, height, width]."""
    small = _shrunk(_shrunk(pixels.astype(np.float32), 1), 2)
    gradients = np.concatenate([np.diff(small, axis=1).ravel(), np.diff(small, axis=2).ravel()])
    colors = (small - np.roll(small, 1, axis=0)).ravel()  # nothing where there is one channel
    return np.concatenate([_signs(gradients, _FLAT), _signs(colors, _GRAY)])


def _signs(values: np.ndarray, least: float) -> np.ndarray:
    return np.asarray(np.sign(values) * (np.abs(values) >= least), dtype=np.int8)


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
