"""Dates reconstructed from a code: a time since 1970, or a point of the day."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.schema import Column
from polysense.modalities.date.record import DateColumn
from polysense.nn.column_decoder import DecodingLimits, ScaledValueDecoder

__all__ = ["DateDecoder"]

_DAY = 86_400.0


class DateDecoder(ScaledValueDecoder):
    """A date as the time since 1970; of a column of times of day, as the point of the day."""

    column: DateColumn

    def __init__(self, column: DateColumn, width: int) -> None:
        # A day has no beginning for a clock: 23:59 lies beside 00:00, so it is a sine and a cosine.
        is_clock = not column.has_dates
        super().__init__(column, width, num_values=2 if is_clock else 1)
        self._is_clock, self._mean, self._std = is_clock, column.mean, column.std

    @classmethod
    def create(cls, column: Column, width: int, limits: DecodingLimits) -> DateDecoder:
        return cls(DateColumn.of(column), width)

    def predict(self, tokens: Float[Tensor, "batch 1 width"]) -> Float[Tensor, " batch"]:
        given = self.scaled(tokens).double()
        if self._is_clock:
            return torch.atan2(given[:, 0], given[:, 1]).remainder(2 * math.pi) * (_DAY / (2 * math.pi))
        return given[:, 0] * self._std + self._mean
