"""Concatenation: h = W [h_1; ...; h_M] + b.

The baseline of every comparison: linear, so it adds evidence up and cannot make one column's meaning depend on
another's. An absent column's slice of W is left out of the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from polysense.config.limits import FractionBelowOne
from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries

__all__ = ["ConcatFusion", "ConcatFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class ConcatFusionConfig(FusionConfig):
    """Concatenates the columns' summaries and projects them; linear.

    Attributes:
        dropout: On the concatenated summaries.
    """

    type: Literal["concat"] = "concat"
    dropout: FractionBelowOne = 0.1


class ConcatFusion(Fusion, config=ConcatFusionConfig):
    """One matrix over all summaries."""

    def __init__(self, config: ConcatFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(len(self.columns) * width, width)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        return None, self.project(self.dropout(summaries.flatten(1)))
