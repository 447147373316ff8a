"""One mask of a large picture from the logits of overlapping windows.

The logits of a pixel are the mean of its windows', weighed by how far from their edges it lies in them, so that no seam
is left where one window ends. The picture is put together in strips, so that the logits of all its pixels are never in
memory at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int64

from polysense.core.windows import Window, axis_weights

__all__ = ["blended_mask"]

_STRIP = 64  # rows of the picture at once


def blended_mask(
    logits: Float[np.ndarray, "windows classes rows columns"],
    windows: Sequence[Window],
    size: tuple[int, int],
    input_size: tuple[int, int],
    stride: tuple[int, int],
    unseen: int,
) -> Int64[np.ndarray, "height width"]:
    """A class's id for every pixel of the picture.

    Args:
        logits: Over cells of the model's input.
        windows: Where they lie.
        size: (height, width) of the picture.
        input_size: (height, width) of the model's input.
        stride: (down, right) pixels of the input from one cell to the next.
        unseen: The id of pixels that no window shows the model, which a crop may cut off.
    """
    across = [_axis(window, 1, logits.shape[3], input_size[1], stride[1]) for window in windows]
    down = [_axis(window, 0, logits.shape[2], input_size[0], stride[0]) for window in windows]
    mask = np.empty(size, dtype=np.int64)
    for start in range(0, size[0], _STRIP):
        stop = min(start + _STRIP, size[0])
        total = np.zeros((logits.shape[1], stop - start, size[1]), dtype=np.float32)
        weight = np.zeros((stop - start, size[1]), dtype=np.float32)
        for of_window, window, (rows, of_rows), (columns, of_columns) in zip(
            logits, windows, down, across, strict=True
        ):
            high, wide = window.placement.size
            first, last = max(start, window.top), min(stop, window.top + high)
            if first >= last:
                continue
            inside = slice(first - window.top, last - window.top)
            own = (rows[inside] @ of_window.astype(np.float32)) @ columns.T
            share = of_rows[inside, None] * of_columns
            place = slice(first - start, last - start), slice(window.left, window.left + wide)
            total[:, *place] += own * share
            weight[place] += share
        mask[start:stop] = np.where(weight > 0, total.argmax(axis=0), unseen)
    return mask


def _axis(
    window: Window, axis: int, cells: int, side: int, stride: int
) -> tuple[Float32[np.ndarray, "pixels cells"], Float32[np.ndarray, " pixels"]]:
    """Along an axis of a window, how its pixels' logits follow from the cells' (linear interpolation between cells'
    centers), and how much they count; 0 outside the model's input."""
    pixels, which = window.placement.size[axis], 1 - axis
    matrix = window.placement.matrix
    at = (np.arange(pixels) + 0.5) * matrix[which, which] + matrix[which, 2]
    position = np.clip(at / stride - 0.5, 0, cells - 1)
    near = np.clip(1 - np.abs(position[:, None] - np.arange(cells)), 0, None)
    share = axis_weights(pixels) * ((at > 0) & (at < side))
    return near.astype(np.float32), share.astype(np.float32)
