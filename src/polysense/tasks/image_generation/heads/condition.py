"""What a generated image is conditioned on: the summary of all columns, and their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.core.pytree import pytree_node
from polysense.core.tokens import Fused

__all__ = ["Condition", "ConditionReader"]


@pytree_node
@dataclass(frozen=True, eq=False)
class Condition:
    """What each row is conditioned on.

    Attributes:
        summary: Of all columns.
        tokens: Of all columns, after one that is always there.
        mask: Which of them are valid.
    """

    summary: Float[Tensor, "batch width"]
    tokens: Float[Tensor, "batch length width"]
    mask: Bool[Tensor, "batch length"]


class ConditionReader(nn.Module):
    """Reads what was fused; a row without any column, or whose columns are dropped, has a learned summary alone.

    Args:
        width: Of what was fused.
        size: Of the condition's vectors.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.summary = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))
        self.tokens = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))
        self.nothing = nn.Parameter(torch.randn(size) * 0.02)
        self.always = nn.Parameter(torch.randn(size) * 0.02)

    def forward(self, fused: Fused, keep: Bool[Tensor, " batch"] | None = None) -> Condition:
        """`keep` is False where a row's columns are dropped."""
        joined = fused.joined()
        there = torch.stack([column.present for column in fused.columns.values()], dim=1).any(dim=1)
        if keep is not None:
            there = there & keep
        first = self.always.expand(len(there), 1, -1)
        return Condition(
            torch.where(there[:, None], self.summary(fused.pooled), self.nothing),
            torch.cat([first, self.tokens(joined.values)], dim=1),
            torch.cat([torch.ones_like(there)[:, None], joined.mask & there[:, None]], dim=1),
        )
