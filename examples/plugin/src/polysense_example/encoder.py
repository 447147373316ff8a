"""A number as its sign and its order of magnitude, for columns that span many scales: prices, populations, counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.nn.encoder import Encoder, EncoderConfig

__all__ = ["OrderOfMagnitude", "OrderOfMagnitudeConfig"]


@dataclass(frozen=True, kw_only=True)
class OrderOfMagnitudeConfig(EncoderConfig):
    """A number by its sign and the logarithm of its size.

    Attributes:
        dropout: On the token.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"number"})
    type: Literal["order_of_magnitude"] = "order_of_magnitude"
    dropout: float = 0.0

    def build(self, column: Column, width: int, resources: Path | None = None) -> OrderOfMagnitude:
        self.check(column)
        return OrderOfMagnitude(self, column, width)


class OrderOfMagnitude(Encoder):
    """Linear in (sign, log(1 + |x|))."""

    def __init__(self, config: OrderOfMagnitudeConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        self.project = nn.Linear(2, width)
        self.dropout = nn.Dropout(config.dropout)

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        number = values.float()[:, 0]  # [items, 1]: standardized
        features = torch.stack([number.sign(), number.abs().log1p()], dim=1)
        # One token per item; a length of 0 is an absent item, whose mask must be False.
        return Tokens(self.dropout(self.project(features))[:, None, :], (lengths > 0)[:, None], (1,))
