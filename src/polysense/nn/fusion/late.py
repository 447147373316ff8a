"""Late (decision-level) fusion: every column decides alone, and the decisions are combined, p = softmax(sum_m w_m l_m).

The weights w are uniform over what is present; learned with the rest; given by a gate that sees all columns, a mixture
of experts (Jacobs et al., "Adaptive mixtures of local experts", 1991); or fitted on the validation rows once the
experts are trained. The last is for columns that generalise unequally: training rows say that a column learnt by heart
is excellent, only rows that were not trained on say how much it may be trusted. It calibrates too, since the weights
need not sum to 1.

Decisions add up and do not interact: of two columns whose exclusive or is the answer, each is silent. `joint` adds one
more expert, the head of another fusion, which can see what no column alone shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig
from polysense.nn.head import Space

__all__ = ["LateFusion", "LateFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class LateFusionConfig(FusionConfig):
    """Decision-level fusion: a head per column, their outputs combined.

    Attributes:
        weights: How much each decision counts: "uniform"; "learned" (one weight each, trained with the rest); "gate"
            (a mixture of experts: weights that depend on the row); or "validation" (each expert is trained on its own
            loss, then the weights are fitted on the validation rows).
        joint: A fusion whose own head decides too, for what only columns together show; null for none.
    """

    type: Literal["late"] = "late"
    weights: Literal["uniform", "learned", "gate", "validation"] = "uniform"
    joint: FusionConfig | None = None

    def build(self, columns: Sequence[str], width: int) -> LateFusion:
        joint = None if self.joint is None else self.joint.build(columns, width)
        return LateFusion(columns, width, weights=self.weights, joint=joint)


class LateFusion(Fusion):
    """Votes of the columns' own heads.

    Args:
        columns: The columns' names.
        width: Width of the tokens.
        weights: As in the config.
        joint: One more expert.
        apart: Whether each expert is trained on its own loss alone.
        space: Where the outputs are combined.
    """

    fitted: Tensor

    def __init__(
        self,
        columns: Sequence[str],
        width: int,
        *,
        weights: Literal["uniform", "learned", "gate", "validation"],
        joint: Fusion | None = None,
        apart: bool = False,
        space: Space = "logits",
    ) -> None:
        super().__init__(columns, width)
        self.weights, self._space, self.apart = weights, space, apart or weights == "validation"
        self.joint = None if joint is None else joint.nested()
        if weights == "learned":
            self.score = nn.Parameter(torch.zeros(self.num_experts))
        elif weights == "gate":
            self.gate = nn.Linear(len(self.columns) * width, self.num_experts)
        elif weights == "validation":
            self.register_buffer("fitted", self.prior())

    @property
    def num_experts(self) -> int:
        return len(self.columns) + (self.joint is not None)

    @property
    def trains_votes(self) -> bool:
        return not self.apart

    @property
    def space(self) -> Space:
        return self._space

    @property
    def auxiliary_losses(self) -> Mapping[str, float]:
        return {} if self.joint is None else self.joint.auxiliary_losses

    def auxiliary(
        self,
        tokens: Sequence[Tokens],
        summaries: Float[Tensor, "batch columns width"],
        present: Bool[Tensor, "batch columns"],
        pooled: Float[Tensor, "batch width"],
    ) -> dict[str, Float[Tensor, " batch"]]:
        return {} if self.joint is None else self.joint.auxiliary(tokens, summaries, present, pooled)

    def prior(self) -> Float[Tensor, " experts"]:
        """The weights before any validation row was seen: the joint expert alone, or all alike."""
        if self.joint is None:
            return torch.full((self.num_experts,), 1 / self.num_experts)
        return torch.tensor([0.0] * len(self.columns) + [1.0])

    @property
    def fits_votes(self) -> bool:
        return self.weights == "validation"

    def set_votes(self, votes: Float[Tensor, " experts"]) -> None:
        self.fitted.copy_(votes)

    def fuse(
        self,
        tokens: Sequence[Tokens],
        summaries: Float[Tensor, "batch columns width"],
        present: Bool[Tensor, "batch columns"],
    ) -> tuple[Tokens, Float[Tensor, "batch width"]]:
        if self.joint is not None:
            return self.joint.fuse(tokens, summaries, present)
        return self.join(tokens), summaries.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)

    def votes(
        self, summaries: Float[Tensor, "batch columns width"], present: Bool[Tensor, "batch columns"]
    ) -> Float[Tensor, "batch experts"]:
        there = present
        if self.joint is not None:
            there = torch.cat([present, present.any(dim=1, keepdim=True)], dim=1)
        match self.weights:
            case "uniform":
                return there / there.sum(dim=1, keepdim=True).clamp(min=1)
            case "validation":
                return there * self.fitted
            case "learned":
                scores = self.score.expand(len(present), -1)
            case _:
                scores = self.gate(summaries.flatten(1)).float()
        # A finite floor keeps a row without any column from giving NaN; it has no votes.
        return scores.masked_fill(~there, torch.finfo(scores.dtype).min).softmax(dim=-1) * there
