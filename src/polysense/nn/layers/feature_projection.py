"""Feature vectors to outputs: standardized by the training rows, dropped out, mapped linearly.

What a frozen backbone knows is in its features as they are. A layer norm in front mixes the scales of its dimensions,
and a narrow layer drops most of them: a linear map of the standardized features is the strongest simple reader.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["FeatureProjection"]

_FLOOR = 1e-6
"""A deviation below it, over the largest, is a constant's."""


class FeatureProjection(nn.Module):
    """W dropout((x - mean) / deviation) + b.

    Args:
        num_features: Size of a feature vector.
        num_outputs: Size of what is made of it.
        dropout: On the standardized features.

    Attributes:
        mean: Of the training rows, by `fit`; 0 before.
        scale: 1 / their deviation; 0 for a feature that never changes, and 1 before.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, num_features: int, num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(num_features))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(num_features, num_outputs)

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "rows features"]) -> None:
        """Takes mean and deviation of training rows; of fewer than two rows, nothing."""
        if len(features) < 2:
            return
        values = features.double()
        deviation = values.std(dim=0, correction=0)
        varies = deviation > _FLOOR * deviation.max().clamp(min=_FLOOR)
        self.mean.copy_(values.mean(dim=0))
        self.scale.copy_(torch.where(varies, 1.0 / deviation.clamp(min=1e-12), 0.0))

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch outputs"]:
        """The outputs; an absent row's zeros are no absence, so the caller masks them."""
        standardized = (features.float() - self.mean) * self.scale
        outputs: Tensor = self.linear(self.dropout(standardized))
        return outputs
