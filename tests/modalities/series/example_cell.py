"""A cell that is surely a time series, for tests over all modalities."""

from __future__ import annotations

import io

import numpy as np


def example_cell(i: int) -> bytes:
    """A .npy file of two channels, 40 to 62 steps."""
    file = io.BytesIO()
    steps = np.arange(40 + 2 * i)
    np.save(file, np.stack([np.sin(steps / (3 + i)), np.cos(steps / 5) * i], axis=1))
    return file.getvalue()
