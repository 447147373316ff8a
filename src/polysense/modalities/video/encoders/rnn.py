"""CNN and RNN: an image encoder over frames, then a bidirectional GRU or LSTM over what it gives for them.

Donahue et al., "Long-term Recurrent Convolutional Networks for Visual Recognition and Description", 2015, section 3;
here the recurrence reads from both ends, since a video is there as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.modalities.video.encoders.frames import OverFrames, OverFramesConfig, frames_in_order
from polysense.modalities.video.record import VideoColumn
from polysense.nn.encoder import Encoder
from polysense.nn.layers.recurrent import BidirectionalRNN

__all__ = ["VideoRNN", "VideoRNNConfig"]


@dataclass(frozen=True, kw_only=True)
class VideoRNNConfig(OverFramesConfig):
    """An image encoder over frames, then a bidirectional GRU or LSTM over time; one token for each frame.

    Attributes:
        cell: gru or lstm.
        hidden: Units in each direction; null = half the model's width.
        num_layers: Layers of the recurrence.
        dropout: Before it and between its layers.
    """

    type: Literal["video_rnn"] = "video_rnn"
    cell: Literal["gru", "lstm"] = "gru"
    hidden: PositiveInt | None = None
    num_layers: PositiveInt = 1
    dropout: FractionBelowOne = 0.2

    def over(self, frames: Encoder, column: VideoColumn, width: int) -> VideoRNN:
        return VideoRNN(self, frames, column, width)


class VideoRNN(OverFrames):
    """The frames' encoder, the recurrence, a projection."""

    def __init__(self, config: VideoRNNConfig, frames: Encoder, column: VideoColumn, width: int) -> None:
        super().__init__(frames, column, width)
        units = config.hidden or -(-width // 2)
        cell = nn.GRU if config.cell == "gru" else nn.LSTM
        self.dropout = nn.Dropout(config.dropout)
        self.rnn = BidirectionalRNN(cell, width, units, config.num_layers, config.dropout)
        self.projection = nn.Linear(2 * units, width)

    def over_time(
        self, frames: Float[Tensor, "batch frames width"], present: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames width"]:
        # The recurrence takes sequences without gaps: present frames first, and back to their places afterwards.
        order = frames_in_order(present)
        packed = frames.take_along_dim(order[..., None], dim=1)
        states = self.rnn(self.dropout(packed), present.sum(dim=1))
        placed = states.take_along_dim(order.argsort(dim=1)[..., None], dim=1)
        result: Tensor = self.projection(placed)
        return result
