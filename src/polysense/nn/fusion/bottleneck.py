"""Attention bottlenecks: the columns exchange what they know through a few tokens only.

Nagrani et al., "Attention Bottlenecks for Multimodal Fusion" (MBT), 2021, section 3.2: each column has its own
transformer; in the upper layers it also reads and writes bottleneck tokens, [x_m; b_m] = L_m([x_m; b]), and the next
layer's b is the mean of the b_m. No token attends to another column's tokens, so the cost is the sum of the squared
lengths instead of the square of their sum, and a long column can't swamp a short one; what doesn't fit into the
bottleneck is not exchanged. The price is a transformer per column.

An absent column's b_m is left out of the mean. A column alone is a plain transformer over its tokens and the bottleneck
tokens. Each column is read out at a summary token of its own, and the readouts are averaged, as the paper averages its
logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries
from polysense.nn.layers.transformer import TransformerBlock

__all__ = ["BottleneckFusion", "BottleneckFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class BottleneckFusionConfig(FusionConfig):
    """Attention bottlenecks (MBT): a transformer per column, joined by a few shared tokens in the upper layers.

    Attributes:
        num_layers: Transformer blocks of each column.
        fusion_start: The first layer (from 0) with bottleneck tokens; the layers below see their own column only.
            At least two layers must have them: what one layer writes, the next reads.
        num_bottlenecks: Bottleneck tokens.
        num_heads: Attention heads; must divide model.width.
        dropout: In every block.
    """

    type: Literal["bottleneck"] = "bottleneck"
    num_layers: PositiveInt = 3
    fusion_start: int = 1
    num_bottlenecks: PositiveInt = 4
    num_heads: PositiveInt = 4
    dropout: FractionBelowOne = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.fusion_start <= self.num_layers - 2:
            raise ConfigError(
                f"fusion_start must be from 0 to num_layers - 2, so that one layer can read what another wrote; found "
                f"fusion_start {self.fusion_start} and num_layers {self.num_layers}"
            )


class BottleneckFusion(Fusion, config=BottleneckFusionConfig):
    """A transformer per column and the tokens between them."""

    def __init__(self, config: BottleneckFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.num_layers, self.fusion_start = config.num_layers, config.fusion_start
        self.project = self._projections()
        self.summary = nn.Parameter(torch.randn(len(self.columns), width) * 0.02)
        self.bottlenecks = nn.Parameter(torch.randn(config.num_bottlenecks, width) * 0.02)
        # [column][layer]
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                TransformerBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.num_layers)
            )
            for _ in self.columns
        )
        self.norm = nn.LayerNorm(width)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        # Per column [summary; tokens]; the summary token is always valid, so no row's keys are all masked.
        streams = self._streams(tokens, summaries, self.project, self.summary)
        masks = [torch.cat([column.mask.new_ones(len(present), 1), column.mask], dim=1) for column in tokens]

        num_bottlenecks = len(self.bottlenecks)
        shared = self.bottlenecks.expand(len(present), -1, -1).to(streams[0].dtype)
        # Each column's weight in a mean over those present; zeros in a row that has none.
        share = (present / present.sum(dim=1, keepdim=True).clamp(min=1)).to(shared.dtype)
        columns: list[Any] = list(self.blocks)
        for layer in range(self.num_layers):
            fusing = layer >= self.fusion_start
            updates = []
            for index, blocks in enumerate(columns):
                x, mask = streams[index], masks[index]
                if fusing:
                    x = torch.cat([x, shared], dim=1)
                    mask = torch.cat([mask, mask.new_ones(len(mask), num_bottlenecks)], dim=1)
                x = blocks[layer](x, mask)
                streams[index] = x[:, : masks[index].shape[1]]
                updates.append(x[:, masks[index].shape[1] :])
            if fusing:
                shared = torch.einsum("bmnd,bm->bnd", torch.stack(updates, dim=1), share)

        streams = [self.norm(x) for x in streams]
        pooled = torch.einsum("bmd,bm->bd", torch.stack([x[:, 0] for x in streams], dim=1), share)
        fused = [Tokens(x[:, 1:], column.mask, column.grid) for x, column in zip(streams, tokens, strict=True)]
        return self.join(fused), pooled
