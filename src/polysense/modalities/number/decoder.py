"""Numbers reconstructed from a code."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from polysense.core.schema import Column
from polysense.modalities.number.record import NumberColumn
from polysense.nn.column_decoder import DecodingLimits, ScaledValueDecoder

__all__ = ["NumberDecoder"]


class NumberDecoder(ScaledValueDecoder):
    """A number."""

    column: NumberColumn

    def __init__(self, column: NumberColumn, width: int) -> None:
        super().__init__(column, width)
        self._mean, self._std = column.mean, column.std

    @classmethod
    def create(cls, column: Column, width: int, limits: DecodingLimits) -> NumberDecoder:
        return cls(NumberColumn.of(column), width)

    def predict(self, tokens: Float[Tensor, "batch 1 width"]) -> Float[Tensor, " batch"]:
        return (self.scaled(tokens)[:, 0].double() * self._std + self._mean).float()
