"""The gated multimodal unit: t_m = tanh(W_m x_m), z = softmax_m(V [x_1; ...; x_M]), h = sum_m z_m * t_m.

Arevalo et al., "Gated Multimodal Units for Information Fusion", 2017, section 3.1, in its many-modality form with one
gate per feature and a softmax over the columns that are present. The gates depend on all inputs, so a column can decide
which other one counts; they are not an explanation of what it used.
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

__all__ = ["GatedFusion", "GatedFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class GatedFusionConfig(FusionConfig):
    """Gated multimodal unit: each feature is a mixture of the columns, weighted by gates that see them all.

    Attributes:
        dropout: On the columns' summaries.
    """

    type: Literal["gated"] = "gated"
    dropout: FractionBelowOne = 0.1


class GatedFusion(Fusion, config=GatedFusionConfig):
    """Per-feature gates over the columns."""

    def __init__(self, config: GatedFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.dropout = nn.Dropout(config.dropout)
        self.transform = nn.ModuleList(nn.Linear(width, width) for _ in self.columns)
        self.gate = nn.Linear(len(self.columns) * width, len(self.columns) * width)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        summaries = self.dropout(summaries)
        # [batch, width, columns]: a softmax over the last dimension gives the same bits wherever a row stands.
        hidden = torch.stack(
            [transform(summaries[:, index]) for index, transform in enumerate(self.transform)], dim=-1
        ).tanh()
        scores = self.gate(summaries.flatten(1)).unflatten(1, (self.width, -1))
        # A finite floor keeps a row without any column from giving NaN; its result is replaced by the learned summary.
        scores = scores.masked_fill(~present[:, None, :], torch.finfo(scores.dtype).min)
        return None, (scores.softmax(dim=-1) * hidden * present[:, None, :]).sum(dim=-1)
