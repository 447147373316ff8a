"""Fusion: every column's Tokens to one Fused.

What all fusions share stands here once: each column's summary is the normalized mean of its valid tokens (the largest
norm would dominate otherwise), an absent column is left out, and a row with nothing present gets a learned
summary. So a fusion only says how present summaries or tokens combine, and an absent modality equals a forward on
the subset alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.base import Configured, Family
from polysense.core.batch import ColumnBatch
from polysense.core.tokens import Fused, FusedColumn, Tokens
from polysense.errors import ConfigError
from polysense.nn.masking import stand_in

__all__ = ["Fusion", "FusionConfig", "Pooled", "Present", "Summaries"]

Summaries: TypeAlias = Float[Tensor, "batch columns width"]
Present: TypeAlias = Bool[Tensor, "batch columns"]
Pooled: TypeAlias = tuple[Tokens | None, Float[Tensor, "batch width"]]


@dataclass(frozen=True, kw_only=True)
class FusionConfig(Family, family="fusion", homes=("nn.fusion.*",)):
    """How the columns' tokens become one."""

    replaced: ClassVar[Mapping[str, str]] = {
        "late": "another fusion, and the heads as {type: ensemble, head: {type: ...}, weights: ..., joint: true}",
        "ensemble": "another fusion, and the heads as {type: ensemble, head: {type: ...}, apart: true, "
        "space: probabilities}",
        "adversarial": "the inner fusion, and model.objectives={adversary: {type: adversary}}",
    }

    def build(self, columns: Sequence[str], width: int) -> Fusion:
        """Builds the fusion for these columns, in this order."""
        if self.builds is None:
            raise ConfigError(f"the fusion {self.type!r} can't be built: no class names its config")
        fusion: Fusion = self.builds(self, columns, width)
        return fusion


class Fusion(nn.Module, Configured, ABC):
    """Joins columns.

    Args:
        columns: The columns' names, in the order that everything stacked follows.
        width: Width of the tokens.

    Attributes:
        missing: The learned missing-modality tokens, see `learn_missing`; None: an absent column is left out.
    """

    def __init__(self, columns: Sequence[str], width: int) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.width = width
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in columns)
        self.nothing = nn.Parameter(torch.zeros(width))
        self.missing: nn.ParameterList | None = None

    @abstractmethod
    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        """Combines what is present.

        Args:
            tokens: Per column, in order.
            summaries: Per column; 0 where absent.
            present: Which columns each row has.

        Returns:
            The fused sequence, the columns' tokens one after another, or None where they stay as they are; and its
            summary. A row with nothing present may hold anything finite.
        """

    def learn_missing(self) -> None:
        """Gives every column a learned token that stands in where a row lacks it, instead of nothing at all."""
        self.missing = nn.ParameterList(nn.Parameter(torch.randn(self.width) * 0.02) for _ in self.columns)

    @final  # type: ignore[misc]  # torch declares `forward` as an attribute
    def forward(self, tokens: Mapping[str, Tokens], columns: Mapping[str, ColumnBatch] | None = None) -> Fused:
        """Joins all columns; every one must be there, if only as an all-False mask.

        Args:
            tokens: Per column.
            columns: What was encoded, for heads that say where in it something is. Without it a column's length is its
                number of valid tokens.
        """
        ordered = [tokens[name] for name in self.columns]
        there = [column.present for column in ordered]
        if self.missing is not None:
            ordered = [stand_in(column, token) for column, token in zip(ordered, self.missing, strict=True)]
        present = torch.stack([column.present for column in ordered] if self.missing is not None else there, dim=1)
        normed = [norm(column.mean()) for norm, column in zip(self.norms, ordered, strict=True)]
        own = [summary * present[:, i, None] for i, summary in enumerate(normed)]
        summaries = torch.stack(own, dim=1)
        fused, pooled = self.fuse(ordered, summaries, present)
        pooled = torch.where(present.any(dim=1)[:, None], pooled, self.nothing.to(pooled.dtype))
        if self.training:
            # A fusion may read tokens alone; the norms are touched even so, or DDP waits for their gradients for ever.
            pooled = pooled + summaries.sum(dim=1).to(pooled.dtype) * 0.0
        sizes = [column.mask.shape[1] for column in ordered]
        values, masks = [column.values for column in ordered], [column.mask for column in ordered]
        if fused is not None:
            values = list(torch.split(fused.cleared().values, sizes, dim=1))
            masks = list(torch.split(fused.mask, sizes, dim=1))
        each = {}
        for i, name in enumerate(self.columns):
            # What stands in for a column is neither its tokens' resolution nor the column.
            part = Tokens(values[i], masks[i], ordered[i].grid, ordered[i].pyramid)
            lengths, geometry = ordered[i].mask.sum(dim=1, keepdim=True), None
            if columns is not None:
                lengths, geometry = columns[name].lengths * there[i][:, None], columns[name].geometry
            each[name] = FusedColumn(part, own[i], there[i], lengths, geometry, ordered[i].features)
        return Fused(pooled, each)

    def _projections(self) -> nn.ModuleList:
        """Per column a normalization and a linear layer, for its tokens."""
        width = self.width
        return nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)) for _ in self.columns)

    @staticmethod
    def _embedded(tokens: Sequence[Tokens], projections: nn.ModuleList, embeddings: Tensor) -> Tokens:
        """The columns' tokens as one sequence, each projected as its column's are and told which column it is of."""
        values = [project(column.values) for column, project in zip(tokens, projections, strict=True)]
        told = zip(values, tokens, embeddings, strict=True)
        return Fusion.join([Tokens(value + embedding, column.mask, column.grid) for value, column, embedding in told])

    def _streams(
        self, tokens: Sequence[Tokens], summaries: Summaries, projections: nn.ModuleList, starts: Tensor
    ) -> list[Tensor]:
        """Per column its projected tokens behind a summary token."""
        streams = []
        for index, (column, project) in enumerate(zip(tokens, projections, strict=True)):
            values = project(column.values)
            start = (summaries[:, index] + starts[index]).to(values.dtype)
            streams.append(torch.cat([start[:, None], values], dim=1))
        return streams

    @staticmethod
    def join(tokens: Sequence[Tokens]) -> Tokens:
        """The columns' tokens as one sequence."""
        values = torch.cat([column.values for column in tokens], dim=1)
        mask = torch.cat([column.mask for column in tokens], dim=1)
        return Tokens(values, mask, (values.shape[1],))
