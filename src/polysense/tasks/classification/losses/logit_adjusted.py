"""Cross entropy of logits to which the log of the classes' training shares is added.

So the network learns what a row says beyond how frequent its class is, and its own logits, which are predicted from,
belong to a world of even classes: with tau 1 they minimize the balanced error (Menon et al., "Long-tail learning via
logit adjustment", ICLR 2021, section 5, equation 10). Probabilities are then those of even classes too. The same after
training, for a model that was trained with plain cross entropy, is `logit_adjustment` of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from polysense.config.limits import NonNegativeFloat
from polysense.tasks.classification.losses.base import ClassLoss, ClassLossConfig, log_prior
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["LogitAdjusted", "LogitAdjustedConfig"]


@dataclass(frozen=True, kw_only=True)
class LogitAdjustedConfig(ClassLossConfig):
    """Cross entropy of the logits plus tau times the log of the classes' training shares.

    Attributes:
        tau: How far the shares are taken out of what is predicted; 1 is for the balanced error, 0 is cross entropy.
    """

    type: Literal["logit_adjusted"] = "logit_adjusted"
    tau: NonNegativeFloat = 1.0

    @property
    def corrections(self) -> Sequence[str]:
        return (f"loss: logit_adjusted (tau {self.tau:g})",) if self.tau else ()


class LogitAdjusted(ClassLoss, config=LogitAdjustedConfig):
    """The logits compete from as far apart as the classes' shares are."""

    offsets: Tensor

    def __init__(self, config: LogitAdjustedConfig, target: ClassificationTarget) -> None:
        super().__init__(config, target)
        self.register_buffer("offsets", config.tau * log_prior(target), persistent=False)

    def under_training_shares(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        return logits + self.offsets
