"""What is learned of a column of chess positions."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column

__all__ = ["ChessColumn"]


@dataclass(frozen=True, kw_only=True)
class ChessColumn(Column):
    """A column of chess positions.

    Attributes:
        has_turn: Whether the training positions say whose turn it is.
    """

    modality: str = "chess"
    has_turn: bool

    @property
    def num_values(self) -> int:
        """Values in one item: the squares, and the turn."""
        return 65 if self.has_turn else 64
