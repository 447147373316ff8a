"""One token for each piece: what it is, and where it stands.

Empty squares are masked, so that 50 of them don't drown a king. How pieces act together is left to the fusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.nn.encoder import Encoder, EncoderConfig
from polysense_example.chess.record import ChessColumn

__all__ = ["ChessSquares", "ChessSquaresConfig"]

_NUM_CODES = 15  # nothing, six white pieces, six black ones, two turns


@dataclass(frozen=True, kw_only=True)
class ChessSquaresConfig(EncoderConfig):
    """A chess position as a token for each piece.

    Attributes:
        dropout: On the tokens.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"chess"})
    type: Literal["chess_squares"] = "chess_squares"
    dropout: float = 0.1

    def build(self, column: Column, width: int, resources: Path | None = None) -> ChessSquares:
        return ChessSquares(self, ChessColumn.of(column), width)


class ChessSquares(Encoder):
    """The embedding of a square's piece plus that of its place."""

    def __init__(self, config: ChessSquaresConfig, column: ChessColumn, width: int) -> None:
        super().__init__(column, width)
        self.pieces = nn.Embedding(_NUM_CODES, width)
        self.positions = nn.Embedding(column.num_values, width)
        self.dropout = nn.Dropout(config.dropout)

    def encode_items(
        self,
        values: Shaped[Tensor, "items values"],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        tokens = self.dropout(self.pieces(values.long()) + self.positions.weight)
        # An absent item has length 0. What is masked is as if it were not there.
        mask = (lengths > 0)[:, None] & (values > 0)
        return Tokens(tokens, mask, (tokens.shape[1],))
