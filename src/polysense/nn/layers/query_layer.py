"""One layer of a decoder whose queries each stand for one thing: they look at one another, then at a memory.

Carion et al., "End-to-end object detection with transformers", ECCV 2020; what a query of the memory may look at can be
narrowed to the mask that it predicts so far (Cheng et al., "Masked-attention mask transformer", CVPR 2022).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["QueryLayer", "position_waves"]


class QueryLayer(nn.Module):
    """Queries attend to one another, then to the memory."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.among = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.to_memory = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.wide = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * channels, channels)
        )

    def forward(
        self,
        x: Tensor,
        where: Tensor,
        memory: Tensor,
        masked: Tensor,
        hidden: Tensor | None = None,
        absent: Tensor | None = None,
        apart: Tensor | None = None,
    ) -> Float[Tensor, "batch queries channels"]:
        """One round.

        Args:
            x: The queries' contents, [batch, queries, channels].
            where: Embeddings of their positions, likewise.
            memory: What they look at, [batch, memory, channels].
            masked: [batch, memory], what of it is not there.
            hidden: [queries, queries], which queries (columns) each must not see.
            absent: [batch, queries], which are padding.
            apart: [batch, queries, memory], what of the memory each query must not see, beside what is masked; a query
                that would see nothing then sees all that is there.
        """
        queries = self.norms[0](x)
        among, _ = self.among(
            queries + where, queries + where, queries, attn_mask=hidden, key_padding_mask=absent, need_weights=False
        )
        x = x + among
        there = ~masked.all(dim=1)  # a row with nothing to look at looks at zeros, which are then taken away
        out = masked & there[:, None]
        if apart is None:
            seen, _ = self.to_memory(self.norms[1](x) + where, memory, memory, key_padding_mask=out, need_weights=False)
        else:
            every = apart | out[:, None]
            every = torch.where(every.all(dim=2, keepdim=True), out[:, None], every)
            every = every.repeat_interleave(self._heads, dim=0)
            seen, _ = self.to_memory(self.norms[1](x) + where, memory, memory, attn_mask=every, need_weights=False)
        x = x + seen * there[:, None, None]
        result: Tensor = x + self.wide(self.norms[2](x))
        return result


def position_waves(points: Float[Tensor, "*shape 2"], channels: int) -> Float[Tensor, "*shape channels"]:
    """Sinusoidal embeddings of fractions of the image: half of the channels for x, half for y."""
    half = channels // 4
    rates = 2 * math.pi * 2.0 ** torch.linspace(0, 5, half, device=points.device)
    angles = points[..., None].float() * rates
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    return F.pad(waves, (0, channels - waves.shape[-1]))
