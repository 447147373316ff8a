"""A series as a small image: a line for each channel, gaps where it was not measured."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["sparkline"]

# Okabe and Ito's colors, which people with any color vision tell apart.
_COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0), (60, 60, 60))
_OVERSAMPLED = 3
_MARGIN = 2


def sparkline(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Draws a series.

    Args:
        values: float [steps, channels], NaN where not measured.
        width: In pixels.
        height: In pixels.

    Returns:
        uint8 [height, width, 3], on white. All channels share one scale, from their lowest to their highest value.
    """
    size = max(width, 8) * _OVERSAMPLED, max(height, 8) * _OVERSAMPLED
    image = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(image)
    measured = values[np.isfinite(values)]
    low, high = (float(measured.min()), float(measured.max())) if len(measured) else (0.0, 1.0)
    scale = (high - low) or 1.0
    if len(values) == 1:  # a level for each channel, for a single point can't be seen
        values = np.repeat(values, 2, axis=0)
    margin = _MARGIN * _OVERSAMPLED
    across = np.linspace(margin, size[0] - margin, len(values))
    for channel, column in enumerate(values.T):
        down = size[1] - margin - (column.astype(np.float64) - low) / scale * (size[1] - 2 * margin)
        color = _COLORS[channel % len(_COLORS)]
        for start, end in _runs(np.isfinite(column)):
            points = list(zip(across[start:end].tolist(), down[start:end].tolist(), strict=True))
            if len(points) == 1:
                x, y = points[0]
                draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=color)
            else:
                draw.line(points, fill=color, width=_OVERSAMPLED)
    return np.asarray(image.resize((max(width, 8), max(height, 8)), Image.Resampling.BOX))


def _runs(valid: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], valid.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
