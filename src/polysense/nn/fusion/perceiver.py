"""A few learned latents read all columns: Z <- Z + Attn(Q = Z, K = V = tokens + e_m).

Jaegle et al., "Perceiver: General Perception with Iterative Attention", 2021, section 3; as a resampler it bridges into
language models (Alayrac et al., "Flamingo", 2022, section 3.1.1). The latents attend to every valid token of every
column, then to one another, several times over. With N latents and L tokens in all the cost is O(N L) in time and
memory, linear in the length, where attention among the tokens is O(L^2): for long audio, or many columns. What N
latents can't hold is lost. One latent without self-attention is attention pooling, alpha_i = softmax(q . k_i),
z = sum_i alpha_i v_i.

The tokens that a head attends to are the columns' own, as the latents read them: they know nothing of one another. A
long column has more keys than a short one, so the readout adds the mean of the present columns' summaries, in which
each counts alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from polysense.config.limits import FractionBelowOne, NonNegativeInt, PositiveInt
from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries
from polysense.nn.layers.transformer import CrossAttentionBlock, TransformerBlock

__all__ = ["PerceiverFusion", "PerceiverFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class PerceiverFusionConfig(FusionConfig):
    """Perceiver: a fixed number of learned latents attend to all columns' tokens, at a cost linear in their length.

    Attributes:
        num_latents: Learned queries.
        num_layers: How often the latents read the tokens.
        num_self_layers: Transformer blocks among the latents after each reading; 0 for attention pooling.
        num_heads: Attention heads; must divide model.width.
        dropout: In every block.
    """

    type: Literal["perceiver"] = "perceiver"
    num_latents: PositiveInt = 16
    num_layers: PositiveInt = 2
    num_self_layers: NonNegativeInt = 1
    num_heads: PositiveInt = 4
    dropout: FractionBelowOne = 0.1


class PerceiverFusion(Fusion, config=PerceiverFusionConfig):
    """Latents, and the blocks by which they read."""

    def __init__(self, config: PerceiverFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.project = self._projections()
        self.column_embedding = nn.Parameter(torch.randn(len(self.columns), width) * 0.02)
        self.latents = nn.Parameter(torch.randn(config.num_latents, width) * 0.02)
        self.readings = nn.ModuleList(
            CrossAttentionBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.num_layers)
        )
        # [reading][block]
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                TransformerBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.num_self_layers)
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        joined = self._embedded(tokens, self.project, self.column_embedding)
        latents = self.latents.expand(len(present), -1, -1).to(joined.values.dtype)
        valid = present.new_ones(latents.shape[:2])
        rounds: list[Any] = list(self.blocks)
        for reading, blocks in zip(self.readings, rounds, strict=True):
            latents = reading(latents, joined.values, joined.mask)
            for block in blocks:
                latents = block(latents, valid)
        start = summaries.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)
        return joined, self.norm(latents.mean(dim=1) + start)
