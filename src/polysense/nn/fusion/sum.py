"""Sum: h = sum_m W_m h_m over the columns that are present.

The additive fusion of the textbooks. Each column's summary is layer-normalized first, or the one with the largest norm
would drown the others. It is the same function as concatenation followed by one matrix, with that matrix cut into one
block per column; what differs is the scale at the start and the choice of a mean, whose size does not shrink with the
number of absent columns. Linear: it adds evidence up, and no column can change what another one means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from polysense.config.limits import FractionBelowOne
from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries

__all__ = ["SumFusion", "SumFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class SumFusionConfig(FusionConfig):
    """Adds the columns' projected summaries up; linear.

    Attributes:
        mean: Divide by the number of columns that are present.
        dropout: On the columns' summaries.
    """

    type: Literal["sum"] = "sum"
    mean: bool = False
    dropout: FractionBelowOne = 0.1


class SumFusion(Fusion, config=SumFusionConfig):
    """One matrix per column, and a sum."""

    def __init__(self, config: SumFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.mean = config.mean
        self.dropout = nn.Dropout(config.dropout)
        # Without a bias each, so that an absent column, whose summary is 0, adds exactly nothing.
        self.project = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.columns)
        self.bias = nn.Parameter(torch.zeros(width))

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        summaries = self.dropout(summaries)
        projected = [project(summaries[:, index]) for index, project in enumerate(self.project)]
        total = torch.stack(projected, dim=-1).sum(dim=-1)
        if self.mean:
            total = total / present.sum(dim=1).clamp(min=1)[:, None]
        return None, total + self.bias
