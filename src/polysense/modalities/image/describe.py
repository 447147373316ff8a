"""Numbers that describe an image as the model gets it: brightness, contrast and sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.descriptor import Descriptor
from polysense.core.schema import Column

__all__ = ["DESCRIPTORS"]


def _brightness(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The mean of all pixels and channels, in percent of white."""
    return float(np.mean([item.mean() for item in items])) / 2.55


def _contrast(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The standard deviation of the pixels' mean over channels, in percent of white."""
    return float(np.mean([item.mean(axis=0, dtype=np.float32).std() for item in items])) / 2.55


def _sharpness(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The mean difference of neighbors, of the pixels' mean over channels, in percent of white."""
    results = []
    for item in items:
        gray = item.mean(axis=0, dtype=np.float32)
        steps = [np.abs(np.diff(gray, axis=axis)).mean() for axis in (0, 1) if gray.shape[axis] > 1]
        results.append(float(np.mean(steps)) if steps else 0.0)
    return float(np.mean(results)) / 2.55


DESCRIPTORS = (
    Descriptor(
        name="brightness",
        low="{column} darker than {value}% of white",
        high="{column} with a brightness of {value}% of white or more",
        measure=_brightness,
    ),
    Descriptor(
        name="contrast",
        low="{column} with less than {value}% contrast",
        high="{column} with {value}% contrast or more",
        measure=_contrast,
    ),
    Descriptor(
        name="sharpness",
        low="{column} with less than {value}% sharpness",
        high="{column} with {value}% sharpness or more",
        measure=_sharpness,
    ),
)
