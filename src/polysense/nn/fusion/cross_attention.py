"""Directional cross-attention: every column is rewritten in the light of every other one.

Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences" (MulT), 2019, section 3: for each
ordered pair (a <- b) a stack of cross-attention blocks with queries from a and keys and values from b, as b stood at
first, then self-attention within each column. It needs no alignment between the columns and keeps apart who listens to
whom; but there are M (M - 1) stacks for M columns, 2 for two, 12 for four, 56 for eight, each a transformer of its own.
For many columns take bottleneck or perceiver instead.

One deviation is on purpose: MulT concatenates what column a made of each partner; here it is the mean over the partners
that are present. A concatenation has a place for every partner that something must fill when the partner is absent; a
mean leaves it out, exactly as if it had never been a column. A column alone goes straight to self-attention. Nor are
positions added, which the encoders' tokens have already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.limits import FractionBelowOne, NonNegativeInt, PositiveInt
from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries
from polysense.nn.layers.transformer import CrossAttentionBlock, TransformerBlock

__all__ = ["CrossAttentionFusion", "CrossAttentionFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class CrossAttentionFusionConfig(FusionConfig):
    """Cross-attention (MulT): for every ordered pair of columns, a stack by which one attends to the other.

    Attributes:
        num_layers: Cross-attention blocks in each of the M (M - 1) stacks, for M columns.
        num_self_layers: Transformer blocks within each column after them.
        num_heads: Attention heads; must divide model.width.
        dropout: In every block.
    """

    type: Literal["cross_attention"] = "cross_attention"
    num_layers: PositiveInt = 2
    num_self_layers: NonNegativeInt = 1
    num_heads: PositiveInt = 4
    dropout: FractionBelowOne = 0.1


class CrossAttentionFusion(Fusion, config=CrossAttentionFusionConfig):
    """A stack per ordered pair, a transformer per column."""

    def __init__(self, config: CrossAttentionFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.project = self._projections()
        self.summary = nn.Parameter(torch.randn(len(self.columns), width) * 0.02)
        # [column that asks][its partner, the others in order][layer]
        self.pairs = nn.ModuleList(
            nn.ModuleList(
                nn.ModuleList(
                    CrossAttentionBlock(width, config.num_heads, dropout=config.dropout)
                    for _ in range(config.num_layers)
                )
                for _ in range(len(self.columns) - 1)
            )
            for _ in self.columns
        )
        # [column][layer]
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                TransformerBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.num_self_layers)
            )
            for _ in self.columns
        )
        self.norm = nn.LayerNorm(width)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        # Per column [summary; tokens]. To itself a column's summary token is always valid, so that no row's keys are
        # all masked; to the others it is valid where the column is present.
        streams = self._streams(tokens, summaries, self.project, self.summary)
        masks = [torch.cat([present[:, i, None], column.mask], dim=1) for i, column in enumerate(tokens)]

        attended = [self._listen(index, streams, masks, present) for index in range(len(self.columns))]
        finished = []
        columns: list[Any] = list(self.blocks)
        for x, mask, blocks in zip(attended, masks, columns, strict=True):
            own = torch.cat([mask.new_ones(len(mask), 1), mask[:, 1:]], dim=1)
            for block in blocks:
                x = block(x, own)
            finished.append(self.norm(x))

        share = (present / present.sum(dim=1, keepdim=True).clamp(min=1)).to(finished[0].dtype)
        pooled = torch.einsum("bmd,bm->bd", torch.stack([x[:, 0] for x in finished], dim=1), share)
        fused = [Tokens(x[:, 1:], column.mask, column.grid) for x, column in zip(finished, tokens, strict=True)]
        return self.join(fused), pooled

    def _listen(
        self,
        index: int,
        streams: Sequence[Float[Tensor, "batch _ width"]],
        masks: Sequence[Bool[Tensor, "batch _"]],
        present: Bool[Tensor, "batch columns"],
    ) -> Float[Tensor, "batch length width"]:
        """Column `index` after hearing each of the others: the mean over those present, itself where none is."""
        own = streams[index]
        partners = [other for other in range(len(streams)) if other != index]
        if not partners:
            return own
        there = present[:, partners]
        share = (there / there.sum(dim=1, keepdim=True).clamp(min=1)).to(own.dtype)
        stacks: Any = self.pairs[index]
        total = own * ~there.any(dim=1)[:, None, None]
        for place, (other, stack) in enumerate(zip(partners, stacks, strict=True)):
            x = own
            for block in stack:
                x = block(x, streams[other], masks[other])
            total = total + x * share[:, place, None, None]
        return total
