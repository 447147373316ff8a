"""Placements: what of an item shows the original, and what fills it up."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.geometry import Placement
from polysense.data.media.pixels import Fit, Resize

SIDES = st.integers(1, 40)


@given(size=st.tuples(SIDES, SIDES), original=st.tuples(SIDES, SIDES), fit=st.sampled_from(["pad", "crop", "stretch"]))
def test_what_shows_the_original_is_what_it_was_resized_into(
    size: tuple[int, int], original: tuple[int, int], fit: Fit
) -> None:
    resize = Resize(size, fit)
    plane = resize.resized(np.ones(original, dtype=np.uint8), 0)
    shown = np.zeros(size, dtype=np.uint8)
    shown[Placement(resize.matrix(*original), original).within(*size)] = 1
    np.testing.assert_array_equal(shown, plane)


def test_what_is_turned_or_lies_outside_fills_all() -> None:
    angle = math.pi / 4
    turned = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    outside = np.array([[1.0, 0, 100], [0, 1, 100], [0, 0, 1]])
    unknown = np.full((3, 3), np.nan)
    for matrix in (turned, outside, unknown):
        assert Placement(matrix, (5, 5)).within(4, 6) == (slice(0, 4), slice(0, 6))
