"""Numbers, dates and categories: one place each.

A hidden one is absent: any value that stood for "hidden" would be some other row's true one.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.nn.layers.draws import normals, uniforms
from polysense.nn.restoring.base import ColumnDecoder

__all__ = ["CategoryDecoder", "DateDecoder", "NumberDecoder", "squared"]

_LINEAR_FROM = 10.0  # standard deviations; beyond, one mistyped value would outweigh a whole table
_LARGEST = 1e30  # whose square root's double is still a float32
_NEVER = -1e30
_DAY = 86_400.0
_CALENDAR = 12  # features of a date that is more than a time of day


class _OnePlace(ColumnDecoder):
    """A column of single values."""

    def __init__(self, column: Column) -> None:
        super().__init__(column, 1)

    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch 1"]:
        return column.lengths[:, :1] > 0

    def hidden(self, column: ColumnBatch, places: Bool[Tensor, "batch 1"]) -> ColumnBatch:
        return column.masked(~places[:, 0])


class _Measured(_OnePlace):
    """A column of scaled values."""

    def noisy(self, column: ColumnBatch, keys: Int[Tensor, " batch"], noise: float, replace: float) -> ColumnBatch:
        if noise == 0:
            return column
        added = noise * normals(keys, column.values[0].numel(), f"noise {self.column.name}")
        values = column.values + added.view(column.values.shape).to(column.values.dtype)
        return ColumnBatch(values=values, lengths=column.lengths, draws=column.draws)


class NumberDecoder(_Measured):
    """A number; its error is squared up to ten standard deviations, and grows linearly beyond."""

    def __init__(self, column: Column, width: int) -> None:
        super().__init__(column)
        assert column.mean is not None
        assert column.std is not None
        self._mean, self._std = column.mean[0], column.std[0]
        self.output = nn.Linear(width, 1)

    def losses(
        self, tokens: Float[Tensor, "batch 1 width"], column: ColumnBatch, places: Bool[Tensor, "batch 1"]
    ) -> Float[Tensor, " batch"]:
        truth = column.values[:, 0, :1].float().masked_fill(~places, 0.0)
        return squared(_linear(tokens[:, 0], self.output) - truth)[:, 0] * places[:, 0]

    def predict(self, tokens: Float[Tensor, "batch 1 width"]) -> Float[Tensor, " batch"]:
        return (_linear(tokens[:, 0], self.output)[:, 0].double() * self._std + self._mean).float()


class DateDecoder(_Measured):
    """A date as the time since 1970; of a column of times of day, as the point of the day."""

    def __init__(self, column: Column, width: int) -> None:
        super().__init__(column)
        assert column.mean is not None
        assert column.std is not None
        self._mean, self._std = column.mean[0], column.std[0]
        # A day has no beginning for a clock: 23:59 lies beside 00:00, so it is a sine and a cosine.
        self._is_clock = column.num_features < _CALENDAR
        self.output = nn.Linear(width, 2 if self._is_clock else 1)

    def losses(
        self, tokens: Float[Tensor, "batch 1 width"], column: ColumnBatch, places: Bool[Tensor, "batch 1"]
    ) -> Float[Tensor, " batch"]:
        given = _linear(tokens[:, 0], self.output)
        truth = column.values[:, 0, : given.shape[1]].float().masked_fill(~places, 0.0)
        return squared(given - truth).mean(dim=1) * places[:, 0]

    def predict(self, tokens: Float[Tensor, "batch 1 width"]) -> Float[Tensor, " batch"]:
        given = _linear(tokens[:, 0], self.output).double()
        if self._is_clock:
            return torch.atan2(given[:, 0], given[:, 1]).remainder(2 * math.pi) * (_DAY / (2 * math.pi))
        return given[:, 0] * self._std + self._mean


class CategoryDecoder(_OnePlace):
    """A category; the unknown one, id 0, is neither learnt nor chosen."""

    def __init__(self, column: Column, width: int) -> None:
        super().__init__(column)
        assert column.num_categories is not None
        if column.collision_rate is not None:
            raise ConfigError(
                f"column {column.name!r} hashes its categories, and a bucket can't be turned back into what it holds; "
                f"name the other columns under the target's `columns`, or give it an encoder that keeps a list"
            )
        self.output = nn.Linear(width, column.num_categories)

    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch 1"]:
        return (column.lengths[:, :1] > 0) & (column.values[:, 0, :1] > 0)

    def noisy(self, column: ColumnBatch, keys: Int[Tensor, " batch"], noise: float, replace: float) -> ColumnBatch:
        if replace == 0:
            return column
        name, num = self.column.name, column.values[0].numel()
        assert self.column.num_categories is not None
        other = 1 + (uniforms(keys, num, f"category {name}") * (self.column.num_categories - 1)).long()
        chosen = uniforms(keys, num, f"replaced {name}") < replace
        values = torch.where(chosen.view(column.values.shape), other.view(column.values.shape), column.values)
        return ColumnBatch(values=values, lengths=column.lengths, draws=column.draws)

    def losses(
        self, tokens: Float[Tensor, "batch 1 width"], column: ColumnBatch, places: Bool[Tensor, "batch 1"]
    ) -> Float[Tensor, " batch"]:
        truth = column.values[:, 0, 0].long().masked_fill(~places[:, 0], 0)
        return F.cross_entropy(self._logits(tokens), truth, reduction="none").masked_fill(~places[:, 0], 0.0)

    def predict(self, tokens: Float[Tensor, "batch 1 width"]) -> Int[Tensor, " batch"]:
        return self._logits(tokens).argmax(dim=1)

    def _logits(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.output(tokens[:, 0]).float()
        first = torch.arange(logits.shape[1], device=logits.device) == 0
        return logits.masked_fill(first, _NEVER)


def _linear(tokens: Float[Tensor, "batch width"], layer: nn.Linear) -> Float[Tensor, "batch outputs"]:
    """The layer, for one or two outputs: a matrix library's kernel for so few gives a row's last bits by its place."""
    return (tokens[:, None] * layer.weight).sum(dim=2) + layer.bias


def squared(difference: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Squares, and straight lines from where the slope of a square would be too steep (Huber, 1964)."""
    size = difference.abs().clamp(max=_LARGEST)
    # The square is taken of what is small alone: that of what is large may be infinite, and its gradient is no number.
    small = size.clamp(max=_LINEAR_FROM)
    return small * small + 2 * _LINEAR_FROM * (size - small)
