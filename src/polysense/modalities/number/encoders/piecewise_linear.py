"""A number by piecewise-linear encoding over quantile bins.

Source: Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022,
section 3.2 and equation 1. With bin edges b_0 < ... < b_T, the encoding of x is [e_1, ..., e_T],

    e_t = 0                                  if x < b_{t-1} and t > 1
        = 1                                  if x >= b_t    and t < T
        = (x - b_{t-1}) / (b_t - b_{t-1})    else,

and a linear layer with a ReLU makes the token of it (the paper's Q-LR). Each bin has a slope of its own, so a threshold
at an age of 65 is one weight where a perceptron on the plain value has to build a step first. The edges are the
training split's quantiles: bins are narrow where the data is dense. The price is resolution where it is not: within a
bin, and beyond the outermost edges, the token's input is linear in x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.config.limits import PositiveInt
from polysense.core.schema import Requirements
from polysense.core.tokens import Tokens
from polysense.modalities.number.record import NumberColumn, NumberRequirements
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["PiecewiseLinear", "PiecewiseLinearConfig"]

_FARTHEST = 1e4
"""Bin widths beyond the outermost edges from which on a value is held: what lies farther would overflow later."""


@dataclass(frozen=True, kw_only=True)
class PiecewiseLinearConfig(EncoderConfig):
    """Piecewise linear encoding of a number over quantile bins of the training values (Gorishniy et al. 2022).

    Attributes:
        num_bins: Bins; fewer where values repeat.
        activation: What follows the linear layer: relu, or none.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"number"})
    type: Literal["piecewise_linear"] = "piecewise_linear"
    num_bins: PositiveInt = 48
    activation: Literal["relu", "none"] = "relu"

    def requirements(self, column_name: str, modality: str) -> Requirements:
        return NumberRequirements(num_quantiles=self.num_bins)


class PiecewiseLinear(Encoder, config=PiecewiseLinearConfig):
    """The encoding, a linear layer and a ReLU."""

    left: Tensor
    widths: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, config: PiecewiseLinearConfig, column: NumberColumn, width: int) -> None:
        super().__init__(column, width)
        assert column.quantiles is not None
        edges = torch.tensor(column.quantiles, dtype=torch.float64)
        lowest, highest = torch.zeros(len(edges) - 1), torch.ones(len(edges) - 1)
        lowest[0], highest[-1] = -_FARTHEST, _FARTHEST
        # Of the column, not of the weights: a bundle keeps the column.
        self.register_buffer("left", edges[:-1].float(), persistent=False)
        self.register_buffer("widths", edges.diff().float(), persistent=False)
        self.register_buffer("lowest", lowest, persistent=False)
        self.register_buffer("highest", highest, persistent=False)
        self.linear = nn.Linear(len(edges) - 1, width)
        self.activation = nn.ReLU() if config.activation == "relu" else nn.Identity()

    def encoding(self, values: Float[Tensor, " items"]) -> Float[Tensor, "items bins"]:
        """Equation 1 of the paper."""
        return ((values[:, None] - self.left) / self.widths).clamp(self.lowest, self.highest)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        hidden = self.activation(self.linear(self.encoding(values.float().flatten(1)[:, 0])))
        return Tokens(hidden[:, None, :], (lengths > 0)[:, None], (1,))
