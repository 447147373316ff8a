"""Fusion: every column's Tokens to one Fused.

What all fusions share stands here once: each column's summary is the normalised mean of its valid tokens (the largest
norm would dominate otherwise), an absent column is left out, and a row with nothing present gets a learned
summary. So a fusion only says how present summaries or tokens combine, and an absent modality equals a forward on
the subset alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.base import Family
from polysense.core.tokens import Fused, Tokens
from polysense.errors import ConfigError
from polysense.nn.head import Space

__all__ = ["Fusion", "FusionConfig"]


@dataclass(frozen=True, kw_only=True)
class FusionConfig(Family, family="fusion", homes=("nn.fusion.*",)):
    """How the columns' tokens become one."""

    def build(self, columns: Sequence[str], width: int) -> Fusion:
        """Builds the fusion for these columns, in this order."""
        raise ConfigError(f"the fusion {self.type!r} can't be built: its config has no build method")


class Fusion(nn.Module, ABC):
    """Joins columns.

    Args:
        columns: The columns' names, in the order that everything stacked follows.
        width: Width of the tokens.
    """

    def __init__(self, columns: Sequence[str], width: int) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.width = width
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in columns)
        self.nothing = nn.Parameter(torch.zeros(width))

    @abstractmethod
    def fuse(
        self,
        tokens: Sequence[Tokens],
        summaries: Float[Tensor, "batch columns width"],
        present: Bool[Tensor, "batch columns"],
    ) -> tuple[Tokens, Float[Tensor, "batch width"]]:
        """Combines what is present.

        Args:
            tokens: Per column, in order.
            summaries: Per column; 0 where absent.
            present: Which columns each row has.

        Returns:
            The fused sequence, the columns' tokens one after another, and its summary; a row with nothing present may
            hold anything
            finite.
        """

    @property
    def auxiliary_losses(self) -> Mapping[str, float]:
        """Training losses of its own, such as an adversary's: name to weight."""
        return {}

    def auxiliary(
        self,
        tokens: Sequence[Tokens],
        summaries: Float[Tensor, "batch columns width"],
        present: Bool[Tensor, "batch columns"],
        pooled: Float[Tensor, "batch width"],
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Those losses per row, 0 where nothing is present; asked for in training only.

        Args:
            tokens: What `fuse` was given.
            summaries: Likewise.
            present: Likewise.
            pooled: What it gave.
        """
        return {}

    @property
    def num_experts(self) -> int:
        """Heads whose outputs are combined: the columns' own, and perhaps one of what was fused; 0: only that one."""
        return 0

    @property
    def trains_votes(self) -> bool:
        """Whether the task's loss of the combined outputs is trained on, and not only each expert's own."""
        return True

    @property
    def fits_votes(self) -> bool:
        """Whether the votes are to be fitted on validation rows once everything is trained."""
        return False

    def prior(self) -> Float[Tensor, " experts"]:
        """The votes before they were fitted."""
        raise AssertionError(f"{type(self).__name__} has no votes to fit")

    def set_votes(self, votes: Float[Tensor, " experts"]) -> None:
        """Takes up fitted votes."""
        raise AssertionError(f"{type(self).__name__} has no votes to fit")

    @property
    def space(self) -> Space:
        """Where the experts' outputs are combined."""
        return "logits"

    def votes(
        self, summaries: Float[Tensor, "batch columns width"], present: Bool[Tensor, "batch columns"]
    ) -> Float[Tensor, "batch experts"] | None:
        """How much each expert counts, 0 where its column is absent; None without experts."""
        return None

    def forward(self, tokens: Mapping[str, Tokens]) -> Fused:
        """Joins all columns; every one must be there, if only as an all-False mask."""
        ordered = [tokens[name] for name in self.columns]
        present = torch.stack([column.present for column in ordered], dim=1)
        unimodal = [
            norm(column.mean()) * column.present[:, None] for norm, column in zip(self.norms, ordered, strict=True)
        ]
        summaries = torch.stack(unimodal, dim=1)
        fused, pooled = self.fuse(ordered, summaries, present)
        losses = self.auxiliary(ordered, summaries, present, pooled) if self.training and self.auxiliary_losses else {}
        pooled = torch.where(present.any(dim=1)[:, None], pooled, self.nothing.to(pooled.dtype))
        if self.training:
            # A fusion may read tokens alone; the norms are touched even so, or DDP waits for their gradients for ever.
            pooled = pooled + summaries.sum(dim=1).to(pooled.dtype) * 0.0
        spans: dict[str, tuple[int, int]] = {}
        start = 0
        for name, column in zip(self.columns, ordered, strict=True):
            spans[name] = (start, start + column.mask.shape[1])
            start += column.mask.shape[1]
        votes = self.votes(summaries, present)
        return Fused(fused, pooled, spans, dict(zip(self.columns, unimodal, strict=True)), losses, votes)

    def nested(self) -> Fusion:
        """This fusion as a part of another, which normalises the summaries and fills rows with nothing itself."""
        self.norms = nn.ModuleList()
        self.nothing.requires_grad_(False)
        return self

    @staticmethod
    def join(tokens: Sequence[Tokens]) -> Tokens:
        """The columns' tokens as one sequence."""
        values = torch.cat([column.values for column in tokens], dim=1)
        mask = torch.cat([column.mask for column in tokens], dim=1)
        return Tokens(values, mask, (values.shape[1],))
