"""Tensor fusion: the full outer product of [z_1; 1], ..., [z_M; 1], and one matrix over its entries.

Zadeh et al., "Tensor Fusion Network for Multimodal Sentiment Analysis", 2017, section 4.2. The constant 1 keeps every
column's own features and every product of some columns beside the product of all, so one matrix reads interactions of
every order. The price is (dim + 1)^M entries: each column's summary is first projected to a tiny z_m, and five columns
are about the end. Low-rank fusion is the same function with a factorized matrix.

An absent column's [z; 1] becomes [0; 1]: what is left of the outer product is that of the other columns, in the slice
of the matrix that stands at the absent column's 1. Computed in fp32, as products of many factors need the range.
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
from polysense.errors import ConfigError
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries

__all__ = ["TensorFusion", "TensorFusionConfig"]

# At a width of 128 that many entries take a matrix of 12.8 million numbers, and 0.4 MB per row of a batch.
MAX_ENTRIES = 100_000


@dataclass(frozen=True, kw_only=True)
class TensorFusionConfig(FusionConfig):
    """Tensor fusion: all products of the columns' features, of every order; for a few columns only.

    Attributes:
        dim: Features that each column is projected to first. (dim + 1) to the power of the number of columns may be at
            most 100,000.
        dropout: On the columns' summaries.
    """

    type: Literal["tensor"] = "tensor"
    dim: PositiveInt = 8
    dropout: FractionBelowOne = 0.1

    def build(self, columns: Sequence[str], width: int) -> TensorFusion:
        """Builds the fusion.

        Raises:
            ConfigError: The outer product would be too large.
        """
        entries = (self.dim + 1) ** len(columns)
        if entries > MAX_ENTRIES:
            fits = max(dim for dim in range(self.dim) if (dim + 1) ** len(columns) <= MAX_ENTRIES)
            advice = f"set model.fusion.dim to {fits} or less, or choose" if fits else "choose"
            raise ConfigError(
                f"model.fusion: the outer product of {len(columns)} columns of {self.dim} + 1 features has "
                f"{entries:,} entries; the limit is {MAX_ENTRIES:,}. To mend it, {advice} the fusion 'low_rank'"
            )
        return TensorFusion(self, columns, width)


class TensorFusion(Fusion):
    """Projections to a tiny dimension, an outer product, one matrix."""

    def __init__(self, config: TensorFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.ModuleList(nn.Linear(width, config.dim) for _ in self.columns)
        self.out = nn.Linear((config.dim + 1) ** len(self.columns), width)
        # A normalized summary has a norm of sqrt(width), so every z has a variance of 1, every product too, and so has
        # the result, whatever the number of columns.
        for project in self.project:
            assert isinstance(project, nn.Linear)
            nn.init.normal_(project.weight, std=width**-0.5)
            nn.init.zeros_(project.bias)
        nn.init.normal_(self.out.weight, std=self.out.in_features**-0.5)
        nn.init.zeros_(self.out.bias)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        with torch.autocast(summaries.device.type, enabled=False):
            summaries = self.dropout(summaries).float()
            product = summaries.new_ones(len(summaries), 1)
            for index, project in enumerate(self.project):
                assert isinstance(project, nn.Linear)
                z = F.linear(summaries[:, index], project.weight.float(), project.bias.float())
                z = F.pad(z * present[:, index, None], (0, 1), value=1.0)
                product = (product[:, :, None] * z[:, None, :]).flatten(1)
            return None, F.linear(product, self.out.weight.float(), self.out.bias.float())
