"""Windows cover a picture, with their overlap, as few as that takes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.windows import Windows, axis_weights, window_starts


@given(st.integers(1, 400), st.integers(1, 100), st.floats(0, 0.95))
def test_windows_cover_an_axis_and_overlap(length: int, side: int, overlap: float) -> None:
    side = min(side, length)
    starts = window_starts(length, side, overlap)
    assert starts[0] == 0
    assert starts[-1] + side == length
    steps = np.diff(starts)
    assert (steps <= max(1, int(side * (1 - overlap)))).all()
    assert len(starts) == len(set(starts))
    assert (axis_weights(side) > 0).all()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_every_pixel_lies_in_a_window(height: int, width: int, high: int, wide: int) -> None:
    windows = Windows((high, wide), 0.25)
    covered = np.zeros((height, width), dtype=int)
    for top, left, tall, broad in windows.boxes((height, width)):
        assert (tall, broad) == (min(high, height), min(wide, width))
        covered[top : top + tall, left : left + broad] += 1
    assert covered.min() >= 1
    assert windows.cut((height, width)) == (len(windows.boxes((height, width))) > 1)
