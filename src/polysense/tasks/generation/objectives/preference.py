"""Preference: the text that people chose is to become more probable than the one that they rejected.

Direct preference optimization (Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a
Reward Model", 2023, equation 7): with the margin

    m = log p(chosen) / p_ref(chosen) - log p(rejected) / p_ref(rejected)

the loss is -log sigmoid(beta m), and ln 2 where the model is still the reference. IPO (Azar et al., "A General
Theoretical Paradigm to Understand Learning from Human Preferences", 2023, equation 17) takes (m - 1 / (2 beta))^2,
which has a minimum, so that pairs that all agree on do not drive the margin to infinity. Normalized by length, each log
probability is per token, which keeps a model from winning by longer texts; without a reference and with a margin that
is SimPO (Meng et al., 2024, equation 6).

Pairs say what is better and not what is good: a loss that only pushes texts apart may lower both. So the cross entropy
of the chosen texts stays beside it, with the weight that its head has (`model.heads.TARGET.loss_weight`; 0: none).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from polysense.config.limits import NonNegativeFloat, PositiveFloat
from polysense.core.batch import Batch
from polysense.core.rows import RowContext, RowLoss
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.head import Head
from polysense.nn.objectives.base import Beginning, Blueprint, Objective, ObjectiveConfig, TrainingState
from polysense.tasks.generation.heads.autoregressive import WritingHead
from polysense.tasks.generation.objectives.policy import Policy, ReferenceKind, evaluating, find_target
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["Preference", "PreferenceConfig", "preference_losses"]


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(ObjectiveConfig):
    """Direct preference optimization: chosen texts against those of `data.targets.TARGET.rejected` (DPO, IPO).

    Attributes:
        weight: Weight of the loss; the chosen texts' cross entropy has that of the head.
        target: The generated text; null if there is only one.
        loss: "dpo" or "ipo".
        beta: How near the model is kept to the reference: the higher, the nearer.
        length_normalized: Whether log probabilities are per token.
        margin: That chosen texts are to lead by (SimPO's gamma over beta); 0 for DPO and IPO as published.
        label_smoothing: The share of pairs that are taken to be the wrong way round (conservative DPO).
        reference: "copy": a copy of what is trained, which shares what is frozen. "adapter": the low-rank adapters are
            trained alone, and the reference is the model without them. "none": no reference. "auto": adapter where
            nothing else is trained, otherwise copy.
    """

    type: Literal["preference"] = "preference"
    target: str | None = None
    loss: Literal["dpo", "ipo"] = "dpo"
    beta: PositiveFloat = 0.1
    length_normalized: bool = False
    margin: NonNegativeFloat = 0.0
    label_smoothing: NonNegativeFloat = 0.0
    reference: ReferenceKind = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing >= 0.5:
            raise ConfigError(
                f"label_smoothing must be below 0.5, where pairs say nothing; found {self.label_smoothing}"
            )

    def build(self, blueprint: Blueprint) -> Preference:
        """Builds the objective.

        Raises:
            ConfigError: There is no such generated text.
        """
        return Preference(self, find_target("preference", self.target, blueprint))


class Preference(Objective):
    """The pairs of a batch."""

    watches_start: ClassVar[bool] = True

    def __init__(self, config: PreferenceConfig, target: str) -> None:
        super().__init__()
        self.config, self.policy = config, Policy("preference", target, config.reference)

    @property
    def weights(self) -> Mapping[str, float]:
        logged = ("right", "margin", "chosen", "rejected")
        return {"loss": self.config.weight, **dict.fromkeys(logged, 0.0)}

    def begin(self, beginning: Beginning) -> None:
        self.policy.begin(beginning)

    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        """Each pair's loss; beside it, for the log, whether the chosen text leads, by how much, and how far the log
        probability of each text has moved from the reference's."""
        chosen, counts = GenerationTruth.of(state.truths[self.policy.target]), self.count(state.batch, state.heads)
        rejected = chosen.rejected
        if rejected is None:
            nothing = state.fused.pooled.sum(dim=1) * 0.0
            return {name: RowLoss(nothing, count) for name, count in counts.items()}
        chosen = replace(chosen, earlier=None, rejected_values=None, rejected_lengths=None, present=rejected.present)
        pairs = (chosen, rejected)

        def ask(head: WritingHead[Any], fused: Fused, context: RowContext) -> Float[Tensor, "batch 2"]:
            measured = [head.likelihood(fused, context, text) for text in pairs]
            per = [each[:, 2].clamp(min=1) if self.config.length_normalized else 1.0 for each in measured]
            return torch.stack([each[:, 0] / by for each, by in zip(measured, per, strict=True)], dim=1)

        head = self.policy.head(state)
        with evaluating(head):  # whose training mode may keep no logits
            own = ask(head, *self.policy.view(state))
        moved = own - self.policy.of_reference(state, ask) if self.policy.has_reference else own
        margin = moved[:, 0] - moved[:, 1]
        config = self.config
        losses = preference_losses(margin - config.margin, config.loss, config.beta, config.label_smoothing)
        there = rejected.present
        values = {
            "loss": losses * there,
            "right": ((margin > 0) * there).float(),
            "margin": margin.detach() * there,
            "chosen": moved[:, 0].detach() * there,
            "rejected": moved[:, 1].detach() * there,
        }
        return {name: RowLoss(value, counts[name]) for name, value in values.items()}

    def count(self, batch: Batch, heads: Mapping[str, Head[object]]) -> dict[str, Float[Tensor, " batch"]]:
        truth = heads[self.policy.target].truth(batch)
        rejected = None if truth is None else GenerationTruth.of(truth).rejected
        there = torch.zeros(len(batch), device=batch.device) if rejected is None else rejected.present.float()
        return dict.fromkeys(self.weights, there)


def preference_losses(
    margin: Float[Tensor, " batch"], kind: Literal["dpo", "ipo"], beta: float, label_smoothing: float = 0.0
) -> Float[Tensor, " batch"]:
    """Each pair's loss by its margin in log-probability ratios, in nats.

    Args:
        margin: By how much more the chosen text's log ratio has grown than the rejected one's.
        kind: "dpo" (Rafailov et al., 2023, equation 7) or "ipo" (Azar et al., 2023, equation 17).
        beta: Strength of the pull to the reference.
        label_smoothing: The share of pairs that are the wrong way round (Mitchell, "A note on DPO with noisy
            preferences", 2023); of DPO.
    """
    if kind == "ipo":
        return (margin - 1 / (2 * beta)).square()
    right, wrong = F.softplus(-beta * margin), F.softplus(beta * margin)
    return right * (1 - label_smoothing) + wrong * label_smoothing
