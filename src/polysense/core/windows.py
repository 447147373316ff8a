"""Overlapping windows over a large picture, each of which a model sees by itself (sliding windows)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from polysense.core.geometry import Placement

__all__ = ["Window", "Windows", "axis_weights", "window_starts"]


@dataclass(frozen=True)
class Windows:
    """How pictures are cut.

    Attributes:
        size: (height, width) of a window in the picture's own pixels; a picture that is no larger is not cut.
        overlap: The share of a window that its neighbor shows, too, at least.
    """

    size: tuple[int, int]
    overlap: float

    def cut(self, size: tuple[int, int]) -> bool:
        """Whether a picture of that (height, width) is cut."""
        return size[0] > self.size[0] or size[1] > self.size[1]

    def boxes(self, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
        """(top, left, height, width) of the windows over a picture of that (height, width), row by row."""
        high, wide = (min(have, want) for have, want in zip(size, self.size, strict=True))
        tops, lefts = (window_starts(have, want, self.overlap) for have, want in zip(size, (high, wide), strict=True))
        return [(top, left, high, wide) for top in tops for left in lefts]


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """One window, as a model sees it.

    Attributes:
        top: Its first row in the picture.
        left: Its first column.
        placement: From the window's own pixels, and so of its size, to the model's input.
    """

    top: int
    left: int
    placement: Placement


def window_starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: as few as cover it with the overlap, spread evenly, the last at its end.

    Args:
        length: Of the axis, at least `side`.
        side: Of a window.
        overlap: At least this share of a window, below 1, lies in its neighbor.
    """
    step = max(1, int(side * (1 - overlap)))
    number = 1 + -(-(length - side) // step)
    return [round(i * (length - side) / max(1, number - 1)) for i in range(number)]


def axis_weights(side: int) -> Float64[np.ndarray, " side"]:
    """How much a window says of its pixels along an axis: most in its middle, and less towards its ends, where it has
    seen less of their surroundings; above 0 and at most 1."""
    center = np.arange(side) + 0.5
    weights: np.ndarray = np.minimum(center, side - center) * 2 / side
    return weights
