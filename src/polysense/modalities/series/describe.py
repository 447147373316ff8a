"""Numbers that describe a time series: its length, its level, and how much of it was not measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from polysense.core.descriptor import Descriptor
from polysense.core.schema import Column

__all__ = ["DESCRIPTORS"]


def _length(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """Steps, of all series together."""
    return float(sum(len(item) for item in items))


def _spread(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The standard deviation of the measured values, the mean over channels, in the column's own deviations."""
    deviations = []
    for item in items:
        for channel in item.T:
            known = channel[np.isfinite(channel)]
            if len(known):
                deviations.append(float(known.std()))
    return float(np.mean(deviations)) if deviations else math.nan


def _gaps(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The share of the values that were not measured, in percent."""
    size = sum(item.size for item in items)
    return 100.0 * sum(int(np.isnan(item).sum()) for item in items) / size if size else math.nan


DESCRIPTORS = (
    Descriptor(
        name="length",
        low="{column} shorter than {value} steps",
        high="{column} of {value} steps or more",
        measure=_length,
    ),
    Descriptor(
        name="spread",
        low="{column} that varies by less than {value} deviations",
        high="{column} that varies by {value} deviations or more",
        measure=_spread,
    ),
    Descriptor(
        name="gaps",
        low="{column} with less than {value}% not measured",
        high="{column} with {value}% not measured or more",
        measure=_gaps,
    ),
)
