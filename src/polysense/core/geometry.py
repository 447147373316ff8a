"""Geometry: where a cell's content lies in what the model sees, as one affine matrix per row.

A matrix maps a point (x, y, 1) of the original to the model's input; pixel i spans [i, i + 1], so a pixel's center lies
at its index plus a half. In what has one dimension (an audio clip, a series) x is the time, in steps, and y is unused.
An affine map covers resizing, cropping, padding, turns and flips; what bends a cell has no matrix, and says so with
NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

__all__ = ["Geometry", "Placement"]


@dataclass(frozen=True, eq=False, slots=True)
class Placement:
    """How one cell was brought to its column's size.

    Attributes:
        matrix: From the original to the item.
        size: (height, width) of the original.
    """

    matrix: Float[np.ndarray, "3 3"]
    size: tuple[int, int]

    def same(self, other: Placement) -> bool:
        """Whether both cells lie alike."""
        return self.size == other.size and np.array_equal(self.matrix, other.matrix)

    def within(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of an item of that size that show the original; all others were filled in.

        At least one of each, and all where the original is turned or lies nowhere in the item.
        """
        (a, b, left), (c, d, top), _ = self.matrix.tolist()
        if b or c or a <= 0 or d <= 0:
            return slice(0, height), slice(0, width)
        return _covered(top, d * self.size[0], height), _covered(left, a * self.size[1], width)

    def reduced(self, size: tuple[int, int]) -> Placement:
        """The placement of an original of that size, of which a reduced copy was placed."""
        scales = np.array([self.size[1] / size[1], self.size[0] / size[0], 1.0])
        return Placement(self.matrix * scales, size)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where a column's cells lie in the model's input.

    Attributes:
        matrices: From the original to the input; NaN where a row's content lies in no one way (several images of
            different sizes in a cell). The identity where the cell is absent.
        sizes: (height, width) of each original; 0 where it is absent or lies in no one way.
    """

    matrices: Float[np.ndarray, "rows 3 3"]
    sizes: Int[np.ndarray, "rows 2"]

    def __getitem__(self, rows: Shaped[np.ndarray, " chosen"] | slice) -> Geometry:
        return Geometry(self.matrices[rows], self.sizes[rows])

    @staticmethod
    def concatenate(parts: Sequence[Geometry]) -> Geometry:
        """The rows of several, one after another."""
        return Geometry(
            np.concatenate([part.matrices for part in parts]), np.concatenate([part.sizes for part in parts])
        )


def _covered(start: float, length: float, size: int) -> slice:
    """The whole pixels of an axis that something covers."""
    first, last = max(0, round(start)), min(size, round(start + length))
    return slice(first, last) if last > first else slice(0, size)
