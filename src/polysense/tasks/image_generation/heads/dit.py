"""A small diffusion transformer that predicts a velocity: attention among patches, modulated by time and condition.

Peebles and Xie, "Scalable Diffusion Models with Transformers", ICCV 2023, section 3.2 (adaLN-zero): scale, shift and
gate of each sublayer are functions of the time and of the columns' summary, and gates start at 0, so that every block
starts as the identity. Between attention and feed-forward layer the patches attend to the columns' tokens, as in
Chen et al., "PixArt-alpha", ICLR 2024, section 2.3.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.tasks.image_generation.heads.condition import Condition

__all__ = ["DiT"]

_HEAD = 32  # width of an attention head


class DiT(nn.Module):
    """From maps of patches to maps of the same shape, 0 before training.

    Args:
        num_patch_values: Channels of the maps.
        grid: (height, width) of the maps.
        width: Of the patches' tokens.
        num_layers: Blocks.
        size: Of the condition's vectors.
        dropout: After attention and after the feed-forward layer.
    """

    def __init__(
        self, num_patch_values: int, grid: tuple[int, int], width: int, num_layers: int, size: int, dropout: float
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(num_patch_values, width)
        self.positions = nn.Parameter(torch.randn(grid[0] * grid[1], width) * 0.02)
        self.blocks = nn.ModuleList(_Block(width, size, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(size, 2 * width)
        self.readout = nn.Linear(width, num_patch_values)
        for layer in (self.modulation, self.readout):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Float[Tensor, "batch values height width"], moment: Float[Tensor, "batch size"], condition: Condition
    ) -> Float[Tensor, "batch values height width"]:
        """`moment` says when, and what the columns' summary is."""
        tokens = self.enter(x.flatten(2).transpose(1, 2)) + self.positions
        for block in self.blocks:
            tokens = block(tokens, moment, condition.tokens, condition.mask)
        scale, shift = self.modulation(moment)[:, None].chunk(2, dim=2)
        read: Tensor = self.readout(self.norm(tokens) * (1 + scale) + shift)
        return read.transpose(1, 2).reshape(x.shape)


class _Block(nn.Module):
    """Attention among the patches, attention to the columns, and a feed-forward layer."""

    def __init__(self, width: int, size: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = next(num for num in range(max(1, width // _HEAD), 0, -1) if width % num == 0)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(size, 6 * width)
        self.query_key_value, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(size, 2 * width)
        self.context_out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)
        for layer in (self.modulation, self.context_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        tokens: Float[Tensor, "batch patches width"],
        moment: Float[Tensor, "batch size"],
        context: Float[Tensor, "batch length size"],
        mask: Bool[Tensor, "batch length"],
    ) -> Float[Tensor, "batch patches width"]:
        """`mask` says which of the context is valid: some of it is."""
        scale_1, shift_1, gate_1, scale_2, shift_2, gate_2 = self.modulation(moment)[:, None].chunk(6, dim=2)
        queries, keys, values = self.query_key_value(self.norm(tokens) * (1 + scale_1) + shift_1).chunk(3, dim=2)
        tokens = tokens + gate_1 * self.dropout(self.attention_out(self._attended(queries, keys, values)))
        keys, values = self.key_value(context).chunk(2, dim=2)
        read = self._attended(self.query(self.norm(tokens)), keys, values, mask[:, None, None])
        tokens = tokens + self.dropout(self.context_out(read))
        out: Tensor = tokens + gate_2 * self.dropout(self.feed_forward(self.norm(tokens) * (1 + scale_2) + shift_2))
        return out

    def _attended(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2) for x in (queries, keys, values))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
