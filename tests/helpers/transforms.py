"""Augmentation without the preprocessing that it comes from."""

from __future__ import annotations

from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig

__all__ = ["transform_of"]


def transform_of(config: TransformConfig, column: Column) -> Transform:
    """The transform for a column of which the record alone is there."""
    return config.build(modality(column.modality).item_column(column))
