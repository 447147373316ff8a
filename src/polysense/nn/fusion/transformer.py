"""The single-stream transformer: all columns' tokens in one sequence, X = concat_m(P_m x_m + e_m), with a key mask.

Every token may attend to every other from the first layer, so interactions of any kind can be learned; the cost is the
square of the total length, and a long column swamps a short one unless the data says otherwise. The token that is read
out
starts as the mean of the present columns' summaries, so a short column counts as much as a long one before attention
has learned
anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries
from polysense.nn.layers.transformer import TransformerBlock

__all__ = ["TransformerFusion", "TransformerFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class TransformerFusionConfig(FusionConfig):
    """Single-stream transformer over all columns' tokens, read out at a learned summary token.

    Attributes:
        num_layers: Transformer blocks.
        num_heads: Attention heads; must divide model.width.
        dropout: In every block.
    """

    type: Literal["transformer"] = "transformer"
    num_layers: PositiveInt = 2
    num_heads: PositiveInt = 4
    dropout: FractionBelowOne = 0.1


class TransformerFusion(Fusion, config=TransformerFusionConfig):
    """A projection and an embedding per column, a summary token, transformer blocks."""

    def __init__(self, config: TransformerFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.project = self._projections()
        self.column_embedding = nn.Parameter(torch.randn(len(self.columns), width) * 0.02)
        self.summary = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        joined = self._embedded(tokens, self.project, self.column_embedding)
        batch = len(joined.values)
        start = summaries.sum(dim=1, keepdim=True) / present.sum(dim=1).clamp(min=1)[:, None, None] + self.summary
        x = torch.cat([start.to(joined.values.dtype), joined.values], dim=1)
        # The summary token is always valid, so no row's keys are all masked.
        mask = torch.cat([joined.mask.new_ones(batch, 1), joined.mask], dim=1)
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        return Tokens(x[:, 1:], joined.mask, joined.grid), x[:, 0]
