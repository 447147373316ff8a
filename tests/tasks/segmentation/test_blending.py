"""Logits of windows put together: exact where they are linear, without seams, unseen where nothing was seen."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.geometry import Placement
from polysense.core.windows import Window, Windows
from polysense.data.media.pixels import Resize
from polysense.tasks.segmentation.blending import blended_mask


@settings(max_examples=25)
@given(st.integers(8, 90), st.integers(8, 90), st.integers(8, 40), st.sampled_from(["pad", "stretch"]))
def test_a_straight_edge_stays_where_it_is(height: int, width: int, side: int, fit: str) -> None:
    """Two classes, whose logits differ by the distance to a straight line in the picture."""
    resize, cells = Resize((16, 16), fit), (np.arange(8) + 0.5) * 2  # type: ignore[arg-type]
    line, windows, logits = width / 2 + 0.25, list[Window](), list[np.ndarray]()
    for top, left, high, wide in Windows((side, side), 0.5).boxes((height, width)):
        windows.append(Window(top, left, Placement(resize.matrix(high, wide), (high, wide))))
        matrix = windows[-1].placement.matrix
        x = (cells - matrix[0, 2]) / matrix[0, 0] + left
        logits.append(np.stack([np.zeros((8, 8)), np.tile(x - line, (8, 1))]))
    mask = blended_mask(np.stack(logits), windows, (height, width), (16, 16), (2, 2), 9)
    true = np.tile(np.arange(width) + 0.5 > line, (height, 1))
    # Beyond the last cell's center nothing is interpolated, so a pixel at a window's edge may lie half a cell off.
    cell = 2 / min(window.placement.matrix[0, 0] for window in windows)
    near = np.abs(np.arange(width) + 0.5 - line) < cell / 2
    assert (mask == true)[:, ~near].all()


def test_what_a_crop_cuts_off_is_unseen() -> None:
    resize = Resize((8, 8), "crop")
    window = Window(0, 0, Placement(resize.matrix(8, 24), (8, 24)))
    mask = blended_mask(np.ones((1, 2, 4, 4)), [window], (8, 24), (8, 8), (2, 2), 7)
    assert (mask[:, 8:16] == 0).all()
    assert (mask[:, :8] == 7).all()
    assert (mask[:, 16:] == 7).all()
