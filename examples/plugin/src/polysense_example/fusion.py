"""The strongest sign wins: the largest value of each feature over the columns that are present."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries

__all__ = ["MaximumFusion", "MaximumFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class MaximumFusionConfig(FusionConfig):
    """The largest value of each feature over the columns.

    Attributes:
        dropout: On the columns' summaries.
    """

    type: Literal["maximum"] = "maximum"
    dropout: float = 0.1


class MaximumFusion(Fusion, config=MaximumFusionConfig):
    """max over the present columns of W_m x_m."""

    def __init__(self, config: MaximumFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.dropout = nn.Dropout(config.dropout)
        self.transform = nn.ModuleList(nn.Linear(width, width) for _ in self.columns)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        summaries = self.dropout(summaries)
        hidden = torch.stack([layer(summaries[:, i]) for i, layer in enumerate(self.transform)], dim=1)
        # An absent column can't be the largest: not even where all the others are negative, as a 0 would be. A row
        # without any column gets a learned summary from the base class; what stands here need only be finite.
        floor = torch.finfo(hidden.dtype).min
        # None: the tokens that heads read stay as they are.
        return None, hidden.masked_fill(~present[:, :, None], floor).amax(dim=1)
