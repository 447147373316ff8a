"""Low-rank bilinear fusion: h = sum_m W_m x_m + P sum_(m<n) tanh(U_m x_m) * tanh(U_n x_n) + b.

The product is the Hadamard product of Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", 2017 (MLB), section
3, with its tanh: without it, a bilinear form x^T A_k y per feature k whose matrix A_k has a rank of at most `rank`. For
more than two columns it is summed over the pairs that are present, as in a factorization machine (Rendle,
"Factorization Machines", 2010), whose identity sum_(m<n) u_m * u_n = ((sum_m u_m)^2 - sum_m u_m^2) / 2 makes the cost
linear in the number of columns. The linear terms let a column count alone; MLB has none, so that with one of two
columns absent nothing would be left.

It sees interactions of two columns, not of three at once (tensor and low-rank fusion do), and the products can't
explode, since tanh bounds them.
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

__all__ = ["BilinearFusion", "BilinearFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class BilinearFusionConfig(FusionConfig):
    """Low-rank bilinear fusion: a linear term per column and a product per pair of columns.

    Attributes:
        rank: Products per pair.
        dropout: On the columns' summaries.
    """

    type: Literal["bilinear"] = "bilinear"
    rank: PositiveInt = 64
    dropout: FractionBelowOne = 0.1


class BilinearFusion(Fusion, config=BilinearFusionConfig):
    """Linear terms and pairwise Hadamard products."""

    def __init__(self, config: BilinearFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.columns)
        self.factor = nn.ModuleList(nn.Linear(width, config.rank) for _ in self.columns)
        self.out = nn.Linear(config.rank, width)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        columns = self.dropout(summaries).unbind(dim=1)
        linear = torch.stack([layer(x) for layer, x in zip(self.linear, columns, strict=True)], dim=-1).sum(dim=-1)
        # In fp32: the identity subtracts two sums that are nearly equal where few columns are present.
        u = torch.stack([layer(x) for layer, x in zip(self.factor, columns, strict=True)], dim=1).float().tanh()
        u = u * present[:, :, None]
        pairs = (u.sum(dim=1).square() - u.square().sum(dim=1)) / 2
        return None, linear + self.out(pairs.to(linear.dtype))
