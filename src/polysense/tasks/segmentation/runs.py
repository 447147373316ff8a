"""Masks as runs of equal ids: a few kilobytes a row, so that evaluations can keep them."""

from __future__ import annotations

import numpy as np

__all__ = ["plane_of", "runs_of"]


def runs_of(planes: np.ndarray) -> np.ndarray:
    """Each mask as its runs, row by row of pixels.

    Args:
        planes: int [rows, height, width].

    Returns:
        object [rows], each int32 [runs, 2]: where a run begins, and its id.
    """
    result = np.empty(len(planes), dtype=object)
    for row, plane in enumerate(planes.reshape(len(planes), -1)):
        starts = np.flatnonzero(np.diff(plane, prepend=plane[:1] + 1))
        result[row] = np.stack([starts, plane[starts]], axis=1).astype(np.int32)
    return result


def plane_of(runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask from its runs, int32 [height, width]."""
    lengths = np.diff(runs[:, 0], append=size[0] * size[1])
    plane: np.ndarray = np.repeat(runs[:, 1], lengths).reshape(size)
    return plane
