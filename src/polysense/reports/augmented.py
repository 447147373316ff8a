"""The page of augmented cells: each as it is, and beside it what the first epochs make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysense.config.codec import to_dict
from polysense.core.preview import CellPreview
from polysense.data.augmentation.base import TransformConfig
from polysense.reports.environment import render

__all__ = ["AugmentedCell", "AugmentedColumn", "render_augmented"]


@dataclass(frozen=True, eq=False, kw_only=True)
class AugmentedCell:
    """A cell and its versions.

    Attributes:
        row: Its number in the table.
        previews: Of the cell as it is, and then of each version.
    """

    row: int
    previews: Sequence[CellPreview]


@dataclass(frozen=True, eq=False, kw_only=True)
class AugmentedColumn:
    """A column that is varied.

    Attributes:
        name: The input column's.
        modality: Its modality.
        config: How it is varied.
        cells: Some of its cells; none where none could be read.
    """

    name: str
    modality: str
    config: TransformConfig
    cells: Sequence[AugmentedCell]

    @property
    def settings(self) -> dict[str, str]:
        """What is set, in words."""
        return {name: str(value) for name, value in to_dict(self.config).items()}


def render_augmented(title: str, columns: Sequence[AugmentedColumn], epochs: int) -> str:
    """The page, self-contained.

    Args:
        title: Its title.
        columns: Those that are varied.
        epochs: Versions of each cell.
    """
    return render("augmented.html.j2", title=title, columns=columns, epochs=epochs)
