"""A pyramid read from coarse to fine, for heads that predict at every place of an image.

The coarsest map is doubled step by step, each time joined with the encoder's map of that resolution (Ronneberger et
al., "U-Net", 2015; Lin et al., "Feature Pyramid Networks", 2017). The summary of all columns scales and shifts every
step's features (FiLM, Perez et al., 2018), so the other columns can say what to look for.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.tokens import Fused, Tokens
from polysense.nn.layers.convolution import ResidualBlock, ValidGroupNorm

__all__ = ["PyramidAttention", "PyramidSkip", "PyramidStep", "as_map"]


class PyramidSkip(nn.Module):
    """An encoder's feature map as the decoder reads it; 0 where it is 0."""

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__()
        self.norm = ValidGroupNorm(num_inputs)
        self.project = nn.Conv2d(num_inputs, channels, 1)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch channels height width"]:
        projected: Tensor = self.project(self.norm(x))
        return projected


class PyramidStep(nn.Module):
    """The coarser map on the finer one's grid, joined with it, modulated by the summary of all columns."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, affine=False)
        self.modulation = nn.Linear(width, 2 * channels)
        self.block = ResidualBlock(channels, channels)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, skip: Tensor, pooled: Tensor) -> Float[Tensor, "batch channels height width"]:
        """A coarser map may reach beyond the finer one, whose side was halved upwards."""
        height, width = skip.shape[2:]
        down, right = -(-height // x.shape[2]), -(-width // x.shape[3])
        x = x.repeat_interleave(down, dim=2).repeat_interleave(right, dim=3)[:, :, :height, :width]
        scale, shift = self.modulation(pooled)[:, :, None, None].chunk(2, dim=1)
        result: Tensor = self.block(F.relu((1 + scale) * self.norm(x + skip) + shift))
        return result


class PyramidAttention(nn.Module):
    """Every place of the coarsest map attends to other columns' tokens, so that a sentence's words are told apart.

    It adds nothing where there are none.

    Args:
        channels: Of the map.
        width: Of the tokens.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.of_tokens = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(
            channels, 4 if channels % 4 == 0 else 1, kdim=width, vdim=width, batch_first=True
        )

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"], skip: Float[Tensor, "batch channels height width"],
        others: Fused,
    ) -> Float[Tensor, "batch channels height width"]:  # fmt: skip
        """`x` is one place that all places share, where the column is absent from the batch."""
        x = x.expand_as(skip) if x.shape[2:] == (1, 1) else x
        tokens = others.joined()
        if not tokens.values.shape[1]:
            return x
        queries = self.norm(x + skip).flatten(2).transpose(1, 2)
        # A row without any other token attends to a zero, which is then taken away.
        there = tokens.mask.any(dim=1)
        masked = ~tokens.mask & there[:, None]
        keys = self.of_tokens(tokens.values)
        seen, _ = self.attention(queries, keys, keys, key_padding_mask=masked, need_weights=False)
        result: Tensor = x + (seen * there[:, None, None]).transpose(1, 2).reshape(skip.shape)
        return result


def as_map(tokens: Tokens) -> Float[Tensor, "batch width rows columns"]:
    """Tokens of one image as a map."""
    return tokens.values.transpose(1, 2).reshape(len(tokens.values), -1, *tokens.grid)
