"""What encoders of whole videos share: a cell's frames as one clip, of which some may be absent.

An image encoder reads a video frame by frame, and fusion sees frames side by side. Here frames are read together, so
that what moves can be told: one token for each time.

A clip's result depends on its own frames alone: an absent frame is 0 wherever another frame's neighborhood reaches it,
as if the clip ended there, and enters no statistic.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Bool, Shaped
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["ClipEncoder", "WholeVideoConfig"]


@dataclass(frozen=True, kw_only=True)
class WholeVideoConfig(EncoderConfig):
    """What encoders of whole videos have in common: they hear the order of frames."""

    modalities: ClassVar[frozenset[str]] = frozenset({"video"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.items == "set":
            raise ConfigError(
                f"items: set: {self.type} reads what follows what; write sequence, or take an encoder of images, which "
                "reads each frame by itself"
            )


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
