"""What heads ask of the column that their target lies in: masks on its images, boxes in them."""

from __future__ import annotations

from collections.abc import Sequence

from polysense.core.schema import Column, Target
from polysense.core.tokens import PyramidLevel
from polysense.errors import ConfigError

__all__ = ["require_fixed_grids", "require_single_items"]


def require_single_items(target: Target, over: str, columns: Sequence[Column], what: str) -> None:
    """Raises ConfigError if the column is no input, or holds several items in a cell.

    Args:
        target: What lies in it.
        over: The column.
        columns: The model's inputs.
        what: "masks lie on".
    """
    column = next((each for each in columns if each.name == over), None)
    if column is None or column.multiple:
        raise ConfigError(
            f"model.heads.{target.name}: its {what} column {over!r}, which "
            + ("is no input" if column is None else "holds several items in a cell")
        )


def require_fixed_grids(over: str, levels: Sequence[PyramidLevel], what: str) -> None:
    """Raises ConfigError if a level of the column's pyramid is no map of one height and width.

    Args:
        over: The column.
        levels: Of its encoder.
        what: What needs them: "masks".
    """
    if any(level.grid is None or len(level.stride) != 2 for level in levels):
        raise ConfigError(f"model.encoders.{over}: its feature maps have no fixed height and width, which {what} need")
