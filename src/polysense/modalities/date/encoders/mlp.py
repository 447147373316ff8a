"""A date as one token: a small multilayer perceptron over the features of data.columns.date.

The first feature is the absolute time, in [-1, 1] over the training range; its inverse hyperbolic sine keeps dates long
before or after training's from drowning all else, without clipping them. The others lie in [-1, 1] anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.modalities.date.record import DateColumn
from polysense.nn.encoder import Encoder, EncoderConfig

__all__ = ["DateMLP", "DateMLPConfig"]


@dataclass(frozen=True, kw_only=True)
class DateMLPConfig(EncoderConfig):
    """A date's features (absolute time, time of year, month, week and day) through a small multilayer perceptron.

    Attributes:
        hidden: Width of the hidden layer.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"date"})
    type: Literal["date_mlp"] = "date_mlp"
    hidden: int = 64

    def build(self, column: Column, width: int, resources: Path | None = None) -> DateMLP:
        self.check(column)
        column = DateColumn.of(column)
        return DateMLP(self, column, width)


class DateMLP(Encoder):
    """asinh, then a multilayer perceptron."""

    def __init__(self, config: DateMLPConfig, column: DateColumn, width: int) -> None:
        super().__init__(column, width)
        self.mlp = nn.Sequential(
            nn.Linear(column.num_features, config.hidden), nn.GELU(), nn.Linear(config.hidden, width)
        )

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        return Tokens(self.mlp(torch.asinh(values.float()))[:, None, :], (lengths > 0)[:, None], (1,))
