"""Counter-based randomness: every draw is a pure function of its coordinates, nothing is remembered.

A sequential generator ties a row's augmentation to how many rows came before it in that worker; a hash of
(seed, epoch, row, name) does not, so a run gives the same batches with 0 or 8 workers, on 1 or 8 ranks, resumed or
not. The hash is splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
section 4), chained over the coordinates; it passes BigCrush and vectorizes in numpy.
"""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["fold", "generator", "permutation", "uniforms"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(state: np.ndarray | np.uint64) -> np.ndarray:
    with np.errstate(over="ignore"):
        state = state + _GAMMA
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        return np.asarray(state ^ (state >> np.uint64(31)))  # numpy turns 0-dimensional arrays into scalars


def _as_uint64(coordinate: int | str | np.ndarray) -> np.ndarray:
    if isinstance(coordinate, str):
        # Two independent 32-bit checksums: names are few, a 64-bit collision is out of the question.
        data = coordinate.encode()
        coordinate = (zlib.crc32(data) << 32) | zlib.adler32(data)
    if isinstance(coordinate, int):
        return np.array(coordinate & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    return np.asarray(coordinate).astype(np.int64).view(np.uint64)


def fold(*coordinates: int | str | np.ndarray) -> np.ndarray:
    """Hashes coordinates into 64 bits; arrays broadcast.

    Returns:
        uint64, of the coordinates' broadcast shape.
    """
    state = np.zeros((), dtype=np.uint64)
    for coordinate in coordinates:
        state = _mix(state ^ _as_uint64(coordinate))
    return state


def uniforms(num: int, *coordinates: int | str | np.ndarray) -> np.ndarray:
    """Uniform draws in [0, 1) for every coordinate.

    Args:
        num: Draws for each coordinate.
        *coordinates: For example seed, epoch, rows [batch], the transform's name.

    Returns:
        float64 [*coordinates' shape, num].
    """
    keys = fold(*coordinates)[..., None]
    bits = _mix(keys ^ _mix(np.arange(num, dtype=np.uint64)))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def generator(*coordinates: int | str) -> np.random.Generator:
    """A numpy generator that is a pure function of its coordinates, for long draws."""
    return np.random.Generator(np.random.Philox(key=int(fold(*coordinates))))


def permutation(num: int, *coordinates: int | str) -> np.ndarray:
    """A permutation of range(num), a pure function of its coordinates; int64 [num]."""
    return generator(*coordinates).permutation(num)
