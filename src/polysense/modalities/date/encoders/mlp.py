"""A date as one token: a small multilayer perceptron over the features of data.columns.date.

The first feature is the absolute time, in [-1, 1] over the training range; its inverse hyperbolic sine keeps dates long
before or after training's from drowning all else, without clipping them. The others lie in [-1, 1] anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from polysense.config.limits import PositiveInt
from polysense.core.tokens import Tokens
from polysense.modalities.date.record import DateColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["DateMLP", "DateMLPConfig"]


@dataclass(frozen=True, kw_only=True)
class DateMLPConfig(EncoderConfig):
    """A date's features (absolute time, time of year, month, week and day) through a small multilayer perceptron.

    Attributes:
        hidden: Width of the hidden layer.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"date"})
    type: Literal["date_mlp"] = "date_mlp"
    hidden: PositiveInt = 64


class DateMLP(Encoder, config=DateMLPConfig):
    """asinh, then a multilayer perceptron."""

    def __init__(self, config: DateMLPConfig, column: DateColumn, width: int) -> None:
        super().__init__(column, width)
        self.mlp = nn.Sequential(
            nn.Linear(column.num_values, config.hidden), nn.GELU(), nn.Linear(config.hidden, width)
        )

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        return Tokens(self.mlp(torch.asinh(values.float()))[:, None, :], (lengths > 0)[:, None], (1,))
