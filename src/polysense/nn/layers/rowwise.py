"""Sums and masks over rows, for heads and their losses."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

__all__ = ["safe", "weighted"]


def weighted(
    outputs: Float[Tensor, "batch experts ..."], weights: Float[Tensor, "batch experts"]
) -> Float[Tensor, "batch ..."]:
    """The sum over experts of weights times outputs."""
    return torch.einsum("be...,be->b...", outputs.float(), weights.float())


def safe(values: Shaped[Tensor, "batch ..."], present: Bool[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
    """Values with 0 where absent, so that arithmetic there stays finite and its gradient 0."""
    return values.masked_fill(~present, 0)
