"""What encoders of whole videos share: a cell's frames as one clip, of which some may be absent.

An image encoder reads a video frame by frame, and fusion sees frames side by side. Here frames are read together, so
that what moves can be told: one token for each time.

A clip's result depends on its own frames alone: an absent frame is 0 wherever another frame's neighborhood reaches it,
as if the clip ended there, and enters no statistic.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import final

from jaxtyping import Bool, Shaped
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.core.tokens import Tokens
from polysense.nn.encoder import Draws, Encoder, Items, Lengths

__all__ = ["ClipEncoder"]


class ClipEncoder(Encoder):
    """An encoder of a cell's frames together."""

    @abstractmethod
    def encode_clips(
        self, frames: Shaped[Tensor, "batch frames channels height width"], present: Bool[Tensor, "batch frames"]
    ) -> Tokens:
        """Encodes clips.

        Args:
            frames: uint8; junk where absent.
            present: Which frames are there; present ones need not be the first.
        """

    @final
    def encode_cells(self, column: ColumnBatch) -> Tokens:
        """See `Encoder`."""
        return self.encode_clips(column.values, column.lengths > 0).cleared()

    @final
    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        """Each item as a clip of one frame."""
        return self.encode_clips(values[:, None], (lengths > 0)[:, None]).cleared()
