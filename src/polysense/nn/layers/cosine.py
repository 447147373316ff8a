"""A linear layer that compares directions: cosines with one vector per output, times a scale."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CosineLinear"]


class CosineLinear(nn.Module):
    """Cosines of the input with learned directions, times a constant; there is no bias.

    Args:
        in_features: Width of the input.
        out_features: Directions.
        scale: Factor on the cosines, without which a softmax could never be sure.
    """

    def __init__(self, in_features: int, out_features: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch outputs"]:
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))
