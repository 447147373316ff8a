"""Categories reconstructed from a code."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.modalities.category.record import CategoryColumn
from polysense.nn.column_decoder import DecodingLimits, SingleValueDecoder
from polysense.nn.layers.draws import uniforms

__all__ = ["CategoryDecoder"]

_NEVER = -1e30


class CategoryDecoder(SingleValueDecoder):
    """A category; the unknown one, id 0, is neither learned nor chosen."""

    column: CategoryColumn
    has_classes: ClassVar[bool] = True

    def __init__(self, column: CategoryColumn, width: int) -> None:
        super().__init__(column)
        self.output = nn.Linear(width, column.num_categories)

    @classmethod
    def create(cls, column: Column, width: int, limits: DecodingLimits) -> CategoryDecoder:
        return cls(CategoryColumn.of(column), width)

    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch 1"]:
        return (column.lengths[:, :1] > 0) & (column.values[:, 0, :1] > 0)

    def noisy(self, column: ColumnBatch, keys: Int[Tensor, " batch"], noise: float, replace: float) -> ColumnBatch:
        if replace == 0:
            return column
        name, num = self.column.name, column.values[0].numel()
        other = 1 + (uniforms(keys, num, f"category {name}") * (self.column.num_categories - 1)).long()
        chosen = uniforms(keys, num, f"replaced {name}") < replace
        values = torch.where(chosen.view(column.values.shape), other.view(column.values.shape), column.values)
        return dataclasses.replace(column, values=values)

    def losses(
        self, tokens: Float[Tensor, "batch 1 width"], column: ColumnBatch, positions: Bool[Tensor, "batch 1"]
    ) -> Float[Tensor, " batch"]:
        truth = self.truth(column)[0][:, 0].masked_fill(~positions[:, 0], 0)
        return F.cross_entropy(self._logits(tokens), truth, reduction="none").masked_fill(~positions[:, 0], 0.0)

    def truth(self, column: ColumnBatch) -> tuple[Int[Tensor, "batch 1"], Bool[Tensor, "batch 1"]]:
        known = self.known(column)
        return column.values[:, 0, :1].long().masked_fill(~known, 0), known

    @property
    def mean_shape(self) -> tuple[int, ...]:
        return (self.column.num_categories,)

    def predict(self, tokens: Float[Tensor, "batch 1 width"]) -> Int[Tensor, " batch"]:
        return self._logits(tokens).argmax(dim=1)

    def _logits(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.output(tokens[:, 0]).float()
        first = torch.arange(logits.shape[1], device=logits.device) == 0
        return logits.masked_fill(first, _NEVER)
