"""A number that describes a video beside those of its frames: how much moves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from polysense.core.descriptor import Descriptor
from polysense.core.schema import Column

__all__ = ["motion"]


def _motion(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The mean difference of consecutive frames, in percent of white; 0 of a single one."""
    steps = [
        float(np.abs(later.astype(np.float32) - earlier).mean())
        for earlier, later in itertools.pairwise(items)
        if earlier.shape == later.shape
    ]
    return float(np.mean(steps)) / 2.55 if steps else 0.0


motion = Descriptor(
    name="motion",
    low="{column} with less than {value}% motion",
    high="{column} with {value}% motion or more",
    measure=_motion,
)
