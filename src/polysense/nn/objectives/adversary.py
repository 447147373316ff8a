"""Adversarial alignment: L = L_task + L_domain(GRL_lambda(h)), whatever the fusion.

A discriminator learns to tell from a column's summary which column it is. A gradient-reversal layer between them (Ganin
and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", 2015, section 3) passes the summary on unchanged and
its gradient back times -lambda, so that the encoders learn to make it fail: a space in which the columns look alike.
The discriminator sees the very summaries that the fusion is given.

It pays where one column should stand in for another. It removes what only one column knows, which is most of the reason
to have several, so it is off unless a recipe asks for it. The discriminator works in training alone; with lambda = 0
every other weight and gradient is as it would be without it, bit for bit.

Two players who learn at the same pace go round in circles: on two columns that differ by an offset (Adam, 400 steps,
2 seeds), a plain discriminator still got 73 to 77% where chance is 50%, and a new one, trained on the finished
summaries, 99.9%. So the discriminator is kept smooth by a penalty on its gradient, and learns ten times as fast as what
it watches: then (3 seeds) it ends at 52 to 59%, a new one at 71 to 87%. Columns look alike to the discriminator they
learned to deceive, not to everyone. And it is the summaries that are aligned, which a fusion that reads tokens uses
little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from polysense.config.limits import NonNegativeFloat, PositiveInt
from polysense.core.rows import RowLoss
from polysense.nn.objectives.base import Blueprint, Objective, ObjectiveConfig, TrainingState

__all__ = ["Adversary", "AdversaryConfig", "reverse_gradient"]


_PACE = 10.0


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, strength: float) -> Tensor:
        vars(ctx)["strength"] = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * -vars(ctx)["strength"], None


def reverse_gradient(x: Float[Tensor, "*shape"], strength: float) -> Float[Tensor, "*shape"]:
    """The same values; the gradient comes back times -strength."""
    reversed_: Tensor = _ReverseGradient.apply(x, strength)
    return reversed_


class _Discriminator(nn.Module):
    """Which column a summary is from: one hidden layer.

    Its weights are kept divided by _PACE, so that an optimizer whose steps don't depend on the gradient's size changes
    them that much faster (Karras et al., "Progressive Growing of GANs", 2018, section 4.1).
    """

    def __init__(self, width: int, hidden: int, num_columns: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, num_columns)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.div_(_PACE)

    def forward(self, summaries: Float[Tensor, "batch columns width"]) -> Float[Tensor, "batch columns choices"]:
        guesses: Tensor = _PACE * self.out(self._activations(summaries))
        return guesses

    def steepness(self, summaries: Float[Tensor, "batch columns width"]) -> Float[Tensor, "batch columns"]:
        """The squared norm of the outputs' Jacobian, J = W_2 diag(1 - tanh^2) W_1, at each summary.

        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, section 4.1; written out, since
        there is but one hidden layer.
        """
        slopes = 1 - self._activations(summaries).square()
        first, second = self.hidden.weight, self.out.weight
        products = (second.T @ second) * (first @ first.T) * _PACE**4
        return ((slopes @ products) * slopes).sum(dim=-1)

    def _activations(self, summaries: Float[Tensor, "batch columns width"]) -> Float[Tensor, "batch columns hidden"]:
        activations: Tensor = self.hidden(summaries)
        return (_PACE * activations).tanh()


@dataclass(frozen=True, kw_only=True)
class AdversaryConfig(ObjectiveConfig):
    """An adversary that makes the columns' summaries indistinguishable; removes what only one column knows.

    Attributes:
        weight: Of the discriminator's loss in the sum.
        strength: Lambda: how strongly the encoders work against the discriminator, next to the task's loss. 0 lets it
            watch without changing anything.
        smoothness: Weight of the penalty on the discriminator's gradient, without which the two may never settle.
        hidden: Width of the discriminator's hidden layer.
    """

    type: Literal["adversary"] = "adversary"
    strength: NonNegativeFloat = 1.0
    smoothness: NonNegativeFloat = 1.0
    hidden: PositiveInt = 32

    def build(self, blueprint: Blueprint) -> Adversary:
        return Adversary(self, blueprint)


class Adversary(Objective):
    """The discriminator."""

    def __init__(self, config: AdversaryConfig, blueprint: Blueprint) -> None:
        super().__init__()
        self.strength, self._weight, self._smoothness = config.strength, config.weight, config.smoothness
        # Built apart from the random stream, so that what is built next starts as it would without an adversary.
        with torch.random.fork_rng(devices=[]):
            self.discriminator = _Discriminator(blueprint.width, config.hidden, len(blueprint.schema.columns))

    @property
    def weights(self) -> Mapping[str, float]:
        return {"column": self._weight, "steepness": self._weight * self._smoothness}

    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        columns = state.fused.columns.values()
        summaries = torch.stack([column.summary for column in columns], dim=1)
        present = torch.stack([column.present for column in columns], dim=1)
        # A path that carries only zeros could still change the order in which gradients are summed.
        seen = reverse_gradient(summaries, self.strength) if self.strength > 0 else summaries.detach()
        guesses = self.discriminator(seen).float()
        which = torch.arange(present.shape[1], device=guesses.device).expand(len(guesses), -1)
        wrong = F.cross_entropy(guesses.transpose(1, 2), which, reduction="none")
        # The penalty is the discriminator's own: detached, it says nothing to the encoders.
        steepness = self.discriminator.steepness(summaries.detach())
        share = present / present.sum(dim=1, keepdim=True).clamp(min=1)
        real = (state.batch.rows >= 0).float()
        return {
            "column": RowLoss((wrong * share).sum(dim=1), real),
            "steepness": RowLoss((steepness * share).sum(dim=1), real),
        }
