"""Damage to numbers: noise in units of the column's scale, and outliers."""

from __future__ import annotations

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.schema import Column

__all__ = ["CORRUPTIONS"]

_NOISE = (0.1, 0.25, 0.5, 1.0, 2.0)  # standard deviation, of the column's
_OUTLIERS = (0.05, 0.1, 0.2, 0.4, 0.8)  # of the cells
_FAR = 10.0  # of the column's deviations


def _noise(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    return np.asarray(item + _NOISE[severity - 1] * draws.standard_normal(item.shape), dtype=np.float32)


def _outlier(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    is_outlier, is_high = draws.random(2)
    if is_outlier >= _OUTLIERS[severity - 1]:
        return item
    return np.full_like(item, _FAR if is_high < 0.5 else -_FAR)


CORRUPTIONS = (Corruption(name="noise", of_item=_noise), Corruption(name="outliers", of_item=_outlier))
