"""Damage to categories: values that training did not know, and others that it did."""

from __future__ import annotations

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.schema import Column
from polysense.modalities.category.record import CategoryColumn

__all__ = ["CORRUPTIONS"]

_SHARE = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the cells


def _unknown(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    column = CategoryColumn.of(column)
    if draws.random() >= _SHARE[severity - 1]:
        return item
    if column.is_hashed:  # an unknown value falls into buckets like any other
        return draws.integers(1, max(column.num_categories, 2), item.shape).astype(item.dtype)
    return np.zeros_like(item)


def _other(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    column = CategoryColumn.of(column)
    known = column.num_categories - 1
    if draws.random() >= _SHARE[severity - 1] or known < 2:
        return item
    return np.asarray((item - 1 + draws.integers(1, known, item.shape)) % known + 1, dtype=item.dtype)


CORRUPTIONS = (Corruption(name="unknown values", of_item=_unknown), Corruption(name="other values", of_item=_other))
