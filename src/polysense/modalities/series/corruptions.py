"""Damage to series: noise, a gap, and a drift."""

from __future__ import annotations

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.schema import Column

__all__ = ["CORRUPTIONS"]

_NOISE = (0.1, 0.25, 0.5, 1.0, 2.0)  # standard deviation, of the channel's
_GAP = (0.05, 0.1, 0.2, 0.35, 0.5)  # of the steps
_DRIFT = (0.25, 0.5, 1.0, 2.0, 4.0)  # at the end, of the channel's deviation


def _noise(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    return np.asarray(item + _NOISE[severity - 1] * draws.standard_normal(item.shape), dtype=np.float32)


def _gap(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    length = int(_GAP[severity - 1] * len(item))
    start = int(draws.random() * (len(item) - length + 1))
    result = item.copy()
    result[start : start + length] = np.nan
    return result


def _drift(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    slopes = draws.uniform(-1, 1, item.shape[1:])
    return np.asarray(item + _DRIFT[severity - 1] * np.linspace(0, 1, len(item))[:, None] * slopes, dtype=np.float32)


CORRUPTIONS = (
    Corruption(name="noise", of_item=_noise),
    Corruption(name="a gap", of_item=_gap),
    Corruption(name="drift", of_item=_drift),
)
