"""Low-rank multimodal fusion: h = sum_r w_r * prod_m (W_m^(r) [x_m; 1]) + b.

Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", 2018, section 3.2: tensor fusion
whose weight tensor is a sum of `rank` outer products of one factor per column, so the outer product is never formed and
the cost is linear in the number of columns. With enough rank it is tensor fusion exactly.

A product of many factors vanishes or explodes. So factors start near 1 (their bias) with a spread of 1 / sqrt(M): the
second moment of a product of M of them is (1 + 1/M)^M < e, whatever M; and they are computed in fp32. An absent
column's factor is 1, that is, it is left out of the product. All factors are one parameter, so each gets its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries

__all__ = ["LowRankFusion", "LowRankFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class LowRankFusionConfig(FusionConfig):
    """Low-rank tensor fusion: products over the columns, from `rank` factors each.

    Attributes:
        rank: Factors per column; more of them can tell more interactions apart.
        dropout: On the columns' summaries.
    """

    type: Literal["low_rank"] = "low_rank"
    rank: PositiveInt = 4
    dropout: FractionBelowOne = 0.1


class LowRankFusion(Fusion, config=LowRankFusionConfig):
    """Factors per column and rank, multiplied over columns and summed over ranks."""

    def __init__(self, config: LowRankFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.dropout = nn.Dropout(config.dropout)
        # [columns, rank, width + 1, width]; the last row of a factor meets the constant 1.
        factors = torch.randn(len(self.columns), config.rank, width + 1, width) * (width * len(self.columns)) ** -0.5
        factors[:, :, -1] = 1.0
        self.factors = nn.Parameter(factors)
        # Of one size, so that no rank starts weak, and of alternating signs, so that the factors' constants cancel.
        signs = 1.0 - 2.0 * (torch.arange(config.rank) % 2)
        self.rank_weights = nn.Parameter(signs * config.rank**-0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        with torch.autocast(summaries.device.type, enabled=False):
            x = F.pad(self.dropout(summaries).float(), (0, 1), value=1.0)
            factors = torch.einsum("bmi,mrio->bmro", x, self.factors.float())
            factors = torch.where(present[:, :, None, None], factors, 1.0)
            pooled = torch.einsum("bro,r->bo", factors.prod(dim=1), self.rank_weights.float())
            return None, pooled + self.bias.float()
