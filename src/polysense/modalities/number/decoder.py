"""Numbers reconstructed from a code."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.modalities.number.record import NumberColumn
from polysense.nn.column_decoder import DecodingLimits, ScaledValueDecoder, linear_rowwise, squared

__all__ = ["NumberDecoder"]


class NumberDecoder(ScaledValueDecoder):
    """A number; its error is squared up to ten standard deviations, and grows linearly beyond."""

    column: NumberColumn

    def __init__(self, column: NumberColumn, width: int) -> None:
        super().__init__(column)
        self._mean, self._std = column.mean, column.std
        self.output = nn.Linear(width, 1)

    @classmethod
    def create(cls, column: Column, width: int, limits: DecodingLimits) -> NumberDecoder:
        return cls(NumberColumn.of(column), width)

    def losses(
        self, tokens: Float[Tensor, "batch 1 width"], column: ColumnBatch, positions: Bool[Tensor, "batch 1"]
    ) -> Float[Tensor, " batch"]:
        truth = column.values[:, 0, :1].float().masked_fill(~positions, 0.0)
        return squared(linear_rowwise(tokens[:, 0], self.output) - truth)[:, 0] * positions[:, 0]

    def predict(self, tokens: Float[Tensor, "batch 1 width"]) -> Float[Tensor, " batch"]:
        return (linear_rowwise(tokens[:, 0], self.output)[:, 0].double() * self._std + self._mean).float()
