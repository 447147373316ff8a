"""Placements as plain values, for a store's files; each number comes back to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.geometry import Placement

__all__ = ["placement_of", "plain_placement"]


def plain_placement(placement: Placement | None) -> list[float | int] | None:
    """The matrix row by row, then the original's height and width."""
    if placement is None:
        return None
    return [*placement.matrix.ravel().tolist(), *map(int, placement.size)]


def placement_of(plain: Sequence[float | int] | None) -> Placement | None:
    """What `plain_placement` was made of."""
    if plain is None:
        return None
    height, width = (int(each) for each in plain[9:])
    return Placement(np.array(plain[:9], dtype=np.float64).reshape(3, 3), (height, width))
