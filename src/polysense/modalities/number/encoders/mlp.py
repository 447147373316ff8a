"""A number as one token.

The value comes robustly scaled; its inverse hyperbolic sine keeps order and small differences, and tames a value a
thousand scales
away without clipping it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from polysense.config.limits import PositiveInt
from polysense.core.tokens import Tokens
from polysense.modalities.number.record import NumberColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["NumberMLP", "NumberMLPConfig"]


@dataclass(frozen=True, kw_only=True)
class NumberMLPConfig(EncoderConfig):
    """A number through a small multilayer perceptron.

    Attributes:
        hidden: Width of the hidden layer.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"number"})
    type: Literal["number_mlp"] = "number_mlp"
    hidden: PositiveInt = 64


class NumberMLP(Encoder, config=NumberMLPConfig):
    """asinh, then a multilayer perceptron."""

    def __init__(self, config: NumberMLPConfig, column: NumberColumn, width: int) -> None:
        super().__init__(column, width)
        self.mlp = nn.Sequential(nn.Linear(1, config.hidden), nn.GELU(), nn.Linear(config.hidden, width))

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        return Tokens(self.mlp(torch.asinh(values.float()))[:, None, :], (lengths > 0)[:, None], (1,))
