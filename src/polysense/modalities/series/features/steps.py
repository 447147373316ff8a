"""Steps of a time series as features read them: gaps are bridged by straight lines."""

from __future__ import annotations

import numpy as np

__all__ = ["filled", "segment_means"]


def filled(item: np.ndarray) -> np.ndarray:
    """A series without gaps: between two measured steps a line, beyond the ends the nearest one.

    Args:
        item: float32 [steps, channels], NaN where not measured.

    Returns:
        float64 [steps, channels]; a channel in which nothing was measured is 0.
    """
    values = item.astype(np.float64)
    missing = np.isnan(values)
    if not missing.any():
        return values
    steps = np.arange(len(values))
    for channel in np.flatnonzero(missing.any(axis=0)):
        there = ~missing[:, channel]
        known = values[there, channel]
        values[:, channel] = np.interp(steps, steps[there], known) if len(known) else 0.0
    return values


def segment_means(values: np.ndarray, num_parts: int) -> np.ndarray:
    """The mean of each of some equal parts, [parts, channels]; a short series' steps lie in several of them."""
    edges = np.arange(num_parts + 1) * len(values) // num_parts
    starts, ends = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts)[:, None])
