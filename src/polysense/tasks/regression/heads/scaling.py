"""Scaling: `NumberScale` of each target column, as tensors, so that an exported model gives numbers in their units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.tasks.regression.scale import NumberScale

__all__ = ["Scaling"]


class Scaling(nn.Module):
    """From a target's own units to standardized numbers and back, column by column.

    Args:
        scales: Of each column.
    """

    center: Tensor
    scale: Tensor
    unit: Tensor
    bounds: Tensor
    limits: Tensor

    def __init__(self, scales: Sequence[NumberScale]) -> None:
        super().__init__()
        self.transforms = tuple(scale.transform for scale in scales)
        ends = [(-math.inf if s.low is None else s.low, math.inf if s.high is None else s.high) for s in scales]
        limits = [(-math.inf, math.inf) if scale.limits is None else scale.limits for scale in scales]
        for name, values in {
            "center": [scale.center for scale in scales],
            "scale": [scale.scale for scale in scales],
            "unit": [scale.unit for scale in scales],
            "bounds": list(zip(*ends, strict=True)),
            "limits": list(zip(*limits, strict=True)),
        }.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)
        for index, scale in enumerate(scales):
            for name, knots in (("knots", scale.knots), ("scores", scale.scores)):
                self.register_buffer(f"{name}_{index}", torch.tensor(knots, dtype=torch.float32), persistent=False)

    def plausible(self, values: Float[Tensor, "batch columns"]) -> Bool[Tensor, "batch columns"]:
        """Which values are known and not outlying."""
        return (values >= self.bounds[0]) & (values <= self.bounds[1])

    def standardized(self, values: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch columns"]:
        """Values in the target's units as the head computes them."""
        columns = []
        for index, transform in enumerate(self.transforms):
            column = values[:, index]
            if transform == "log":
                column = torch.asinh(column / self.unit[index])
            elif transform == "quantile":
                knots, scores = self._knots(index)
                column = _interpolated(column, knots, scores)
            columns.append(column)
        return (torch.stack(columns, dim=1) - self.center) / self.scale

    def restored(self, scaled: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch columns"]:
        """The inverse of `standardized`; always finite."""
        values = torch.clamp(scaled, self.limits[0], self.limits[1]) * self.scale + self.center
        columns = []
        for index, transform in enumerate(self.transforms):
            column = values[:, index]
            if transform == "log":
                column = torch.sinh(column) * self.unit[index]
            elif transform == "quantile":
                knots, scores = self._knots(index)
                column = _interpolated(column, scores, knots)
            columns.append(column)
        return torch.stack(columns, dim=1)

    def _knots(self, index: int) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"knots_{index}"), self.get_buffer(f"scores_{index}")


def _interpolated(
    values: Float[Tensor, " batch"], xs: Float[Tensor, " knots"], ys: Float[Tensor, " knots"]
) -> Float[Tensor, " batch"]:
    """Piecewise linear between increasing knots, constant beyond them."""
    right = torch.searchsorted(xs, values.contiguous()).clamp(1, len(xs) - 1)
    low, high = xs[right - 1], xs[right]
    share = ((values - low) / (high - low).clamp(min=1e-30)).clamp(0, 1)
    return ys[right - 1] + share * (ys[right] - ys[right - 1])
