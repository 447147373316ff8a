"""Residual convolutions that keep rows and padding apart.

Batch normalization would tie every row to its batch, in training and through running statistics in prediction. Group
normalization (Wu and He, "Group Normalization", 2018) keeps rows apart; over time it counts valid positions only, so a
clip does not depend on its padding either. Normalizing each position over its channels, as ConvNeXt does, is cheaper,
but blows the noise of an empty background up to the size of the strokes: on degraded 28 px digits it reached 19% where
group and batch normalization reached 33 to 34%.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from polysense.core.tokens import Tokens

__all__ = ["ResidualBlock", "ValidGroupNorm", "conv3x3", "time_level"]

_GROUP = 8


class _ValidGroupNorm(torch.autograd.Function):
    """The normalization with its gradient written out: half the passes over memory that autograd would make."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, valid: Tensor, weight: Tensor, bias: Tensor, num_groups: int) -> Tensor:
        _, channels, height, _ = x.shape
        x = x * valid
        exact = torch.promote_types(x.dtype, torch.float32)
        count = (valid.to(exact).sum(dim=(1, 2, 3)) * (height * channels // num_groups)).clamp(min=1)[:, None]
        # Sums over all positions are sums over the valid ones, since the others are 0.
        mean = _over_groups(x.sum(dim=(2, 3), dtype=exact), num_groups) / count
        square = _over_groups(torch.linalg.vector_norm(x, dim=(2, 3), dtype=exact).square(), num_groups) / count
        rate = (square - mean * mean).clamp(min=0).add(1e-5).rsqrt()
        mean, rate = (value.repeat_interleave(channels // num_groups, dim=1) for value in (mean, rate))
        scale = rate * weight
        ctx.save_for_backward(x, valid, weight, mean, rate, count)
        ctx.num_groups = num_groups
        return torch.addcmul(_spread(bias - mean * scale, x), x, _spread(scale, x)).mul_(valid)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, valid, weight, mean, rate, count = ctx.saved_tensors
        gradient = gradient * valid
        total = gradient.sum(dim=(2, 3), dtype=mean.dtype)
        along = ((gradient * x).sum(dim=(2, 3), dtype=mean.dtype) - mean * total) * rate
        channels = x.shape[1] // ctx.num_groups
        per_group = [
            (_over_groups(value * weight, ctx.num_groups) / count).repeat_interleave(channels, dim=1)
            for value in (total, along)
        ]
        slope = rate * rate * per_group[1]
        dx = torch.addcmul(_spread(mean * slope - rate * per_group[0], x), gradient, _spread(rate * weight, x))
        dx = torch.addcmul(dx, x, _spread(slope, x), value=-1).mul_(valid)
        return dx, None, along.sum(dim=0).to(weight.dtype), total.sum(dim=0).to(weight.dtype), None


def _over_groups(per_channel: Tensor, num_groups: int) -> Tensor:
    return per_channel.view(len(per_channel), num_groups, -1).sum(dim=-1)


def _spread(per_channel: Tensor, like: Tensor) -> Tensor:
    return per_channel[:, :, None, None].to(like.dtype)


class ValidGroupNorm(nn.Module):
    """Group normalization over the valid columns of [batch, channels, height, width].

    Args:
        num_channels: Channels, in groups of 8 (one group if 8 does not divide them).
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.num_groups = num_channels // _GROUP if num_channels % _GROUP == 0 else 1
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        valid: Float[Tensor, "batch 1 1 width"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """`valid` is 0 at columns that are padding: they don't count, and stay 0."""
        if valid is None:
            return F.group_norm(x, self.num_groups, self.weight, self.bias)
        normalized: Tensor = _ValidGroupNorm.apply(x, valid, self.weight, self.bias, self.num_groups)
        return normalized


def time_level(x: Float[Tensor, "items channels height steps"], keep: Float[Tensor, "items 1 1 steps"]) -> Tokens:
    """A feature map whose columns run along time as a level of a pyramid; `keep` is 0 at padding."""
    return Tokens(x.permute(0, 3, 1, 2).flatten(2), keep[:, 0, 0] > 0, (x.shape[3],))


def conv3x3(num_inputs: int, num_outputs: int, stride: tuple[int, int] = (1, 1)) -> nn.Conv2d:
    """A 3x3 convolution without a bias, which the normalization after it has."""
    return nn.Conv2d(num_inputs, num_outputs, 3, stride=stride, padding=1, bias=False)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a residual connection (He et al., "Deep Residual Learning", 2016, section 3.3).

    Args:
        num_inputs: Channels in.
        num_outputs: Channels out.
    """

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.conv_1 = conv3x3(num_inputs, num_outputs)
        self.norm_1 = ValidGroupNorm(num_outputs)
        self.conv_2 = conv3x3(num_outputs, num_outputs)
        self.norm_2 = ValidGroupNorm(num_outputs)
        self.shortcut: nn.Module = nn.Identity()
        if num_inputs != num_outputs:
            self.shortcut = nn.Conv2d(num_inputs, num_outputs, 1, bias=False)
        # Starting as the identity (Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1).
        nn.init.zeros_(self.norm_2.weight)

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        valid: Float[Tensor, "batch 1 1 width"] | None = None,
    ) -> Float[Tensor, "batch outchannels height width"]:
        """`valid` is 0 at columns that are padding; they stay 0, as if the input ended there."""
        hidden = F.relu(self.norm_1(self.conv_1(x), valid), inplace=True)
        return F.relu(self.shortcut(x) + self.norm_2(self.conv_2(hidden), valid), inplace=True)
