"""A number by sines and cosines of learned frequencies.

Source: Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022,
section 3.3:

    v = [2 pi c_1 x, ..., 2 pi c_k x],    Periodic(x) = [sin v, cos v],

with every c_l learned and at first drawn from a normal distribution of mean 0 and standard deviation sigma; a linear
layer with a ReLU makes the token of it (the paper's PLR). High frequencies let a network fit what jumps quickly with x,
for which a plain perceptron is too smooth. sigma decides how quickly and is the one setting to tune: too large a sigma
fits noise. Unlike bins it needs nothing of the data, and unlike bins it says nothing sensible far outside the training
range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from polysense.config.limits import PositiveFloat, PositiveInt
from polysense.core.tokens import Tokens
from polysense.modalities.number.record import NumberColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["Periodic", "PeriodicConfig"]

_FARTHEST = 1e6
"""Scales from the center from which on a value is held: there float32 no longer knows the phase anyway."""


@dataclass(frozen=True, kw_only=True)
class PeriodicConfig(EncoderConfig):
    """A number by sines and cosines of learned frequencies, a linear layer and a ReLU (Gorishniy et al. 2022, PLR).

    Attributes:
        num_frequencies: Learned frequencies; each gives a sine and a cosine.
        sigma: Standard deviation of the frequencies at the start, in cycles over one scale of the number. Larger fits
            what changes quicker, and noise; worth trying between 0.01 and 10.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"number"})
    type: Literal["periodic"] = "periodic"
    num_frequencies: PositiveInt = 48
    sigma: PositiveFloat = 0.1


class Periodic(Encoder, config=PeriodicConfig):
    """Sines and cosines, a linear layer and a ReLU."""

    def __init__(self, config: PeriodicConfig, column: NumberColumn, width: int) -> None:
        super().__init__(column, width)
        self.frequencies = nn.Parameter(torch.randn(config.num_frequencies) * config.sigma)
        self.linear = nn.Linear(2 * config.num_frequencies, width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        clipped = values.float().flatten(1)[:, :1].clamp(-_FARTHEST, _FARTHEST)
        angles = 2 * math.pi * clipped * self.frequencies
        hidden = torch.relu(self.linear(torch.cat([angles.sin(), angles.cos()], dim=1)))
        return Tokens(hidden[:, None, :], (lengths > 0)[:, None], (1,))
