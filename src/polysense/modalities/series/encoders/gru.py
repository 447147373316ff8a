"""A bidirectional GRU over steps (Cho et al., 2014), after a strided convolution; tokens run along time.

The convolution makes one vector of a few steps, which shortens what the recurrence has to carry; 1 leaves every step.
What follows what is in every token, as far as a state remembers. Steps come one after another, so a long series takes
longer than with the convolutional encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.modalities.series.encoders.channels import with_indicators
from polysense.modalities.series.record import SeriesColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths
from polysense.nn.layers.recurrent import BidirectionalRNN

__all__ = ["SeriesGRU", "SeriesGRUConfig"]


@dataclass(frozen=True, kw_only=True)
class SeriesGRUConfig(EncoderConfig):
    """A bidirectional GRU over a series, trained from scratch.

    Attributes:
        stride: Steps that the convolution before it makes one of.
        hidden: Units of the GRU in each direction; null = half the model's width.
        num_layers: Layers of the GRU.
        dropout: Before the GRU and between its layers.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"series"})
    type: Literal["series_gru"] = "series_gru"
    stride: PositiveInt = 4
    hidden: int | None = None
    num_layers: PositiveInt = 1
    dropout: FractionBelowOne = 0.2


class SeriesGRU(Encoder, config=SeriesGRUConfig):
    """A strided convolution, the GRU, a projection."""

    def __init__(self, config: SeriesGRUConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        self.stride = config.stride
        units = config.hidden or -(-width // 2)
        self.stem = nn.Conv1d(2 * SeriesColumn.of(column).num_channels, width, config.stride, stride=config.stride)
        self.dropout = nn.Dropout(config.dropout)
        self.gru = BidirectionalRNN(nn.GRU, width, units, config.num_layers, config.dropout)
        self.projection = nn.Linear(2 * units, width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        steps, valid = with_indicators(values, lengths)
        x = F.pad(steps.transpose(1, 2), (0, -steps.shape[1] % self.stride))
        x = self.dropout(F.gelu(self.stem(x)).transpose(1, 2))
        mask = F.pad(valid, (0, -valid.shape[1] % self.stride))[:, :: self.stride]
        return Tokens(self.projection(self.gru(x, mask.sum(dim=1))), mask, (x.shape[1],))
