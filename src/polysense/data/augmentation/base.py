"""What every transform keeps to.

A transform works on a whole batch on whatever device it is, for speed, yet each row's result is a function of
(seed, epoch, row, column) and of the row's own content alone: its draws are hashed from those coordinates, and no
arithmetic mixes rows or depends on how far a batch is padded. So permuting a batch, taking a part of it or splitting
it over ranks gives the same rows bit for bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polysense.config.base import Family
from polysense.core.batch import ColumnBatch
from polysense.core.modality_spec import FittedColumn
from polysense.core.random import uniforms
from polysense.core.registry import modality
from polysense.core.schema import Column

__all__ = ["Transform", "TransformConfig", "item_uniforms"]


@dataclass(frozen=True, kw_only=True)
class TransformConfig(Family, ABC, family="transform", homes=("modalities.*.augment",)):
    """Augmentation of a column's cells in training."""

    def create(self, fitted: FittedColumn) -> Transform:
        """The transform for a column, of whose items it is: a video's frames are images. One that needs more of the
        preprocessing than its record takes it from here."""
        return self.build(modality(fitted.column.modality).item_column(fitted.column))

    @abstractmethod
    def build(self, column: Column) -> Transform:
        """The transform for a column."""

    @property
    def moves(self) -> bool:
        """Whether what is in a cell may come to lie elsewhere in it, which a target that lies there has to follow."""
        return False

    @property
    def untraced(self) -> tuple[str, ...]:
        """The settings, of those in use, that move what is in a cell to where no matrix says (`Transform.__call__`)."""
        return ()

    @property
    def disturbs(self) -> Mapping[str, Mapping[str, object]]:
        """Per property of a cell that it changes (`data.augmentation.properties`), such as left and right, the settings
        that do, of those in use, each with a value that would change nothing."""
        return {}


class Transform(ABC):
    """Varies the present cells of a column's batch; absent ones stay absent."""

    @abstractmethod
    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Varies a batch.

        Args:
            column: The column's cells; not changed. Without geometry.
            rows: int64 [batch], the cells' rows in the table.
            seed: With the epoch, the row and the column, what the draws are a function of.
            epoch: Likewise.

        Returns:
            A new batch, on the same device, of the same types. Its `geometry` says how the values moved: per row the
            matrix from where something lay to where it lies (see `core.geometry`); NaN in a row where no one matrix
            says it, None where nothing moved. What is covered or changed in place has not moved.
        """


def item_uniforms(num: int, seed: int, epoch: int, rows: np.ndarray, name: str, num_items: int) -> np.ndarray:
    """Uniforms in [0, 1) for each item of each row.

    Returns:
        float64 [batch, num_items, num]; an item's draws do not depend on `num_items`.
    """
    return uniforms(num, seed, epoch, rows[:, None], name, np.arange(num_items))
