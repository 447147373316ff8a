"""Focal loss: cross entropy that counts a row less the better it is recognized already.

The factor is (1 - p)^gamma, p the true class's probability (Lin et al., "Focal Loss for Dense Object Detection", ICCV
2017, equation 4, with the softmax in place of the sigmoid). It was made for thousands of easy negatives beside each
object; it knows nothing of how frequent classes are, so class weights may join it, as the paper's alpha does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from polysense.config.limits import NonNegativeFloat
from polysense.tasks.classification.losses.base import ClassLoss, ClassLossConfig
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["Focal", "FocalConfig"]


@dataclass(frozen=True, kw_only=True)
class FocalConfig(ClassLossConfig):
    """Cross entropy times (1 - p)^gamma, p the probability of the true class.

    Attributes:
        gamma: How much less a well-recognized row counts; 0 is cross entropy.
    """

    type: Literal["focal"] = "focal"
    gamma: NonNegativeFloat = 2.0

    @property
    def corrections(self) -> Sequence[str]:
        return ()  # of hard rows and not of rare classes; its authors use it with class weights


class Focal(ClassLoss, config=FocalConfig):
    """Rows that are recognized well count little."""

    def __init__(self, config: FocalConfig, target: ClassificationTarget) -> None:
        super().__init__(config, target)
        self.gamma = config.gamma

    def learned(
        self, logits: Float[Tensor, "batch classes"], truth: Int[Tensor, " batch"], label_smoothing: float
    ) -> Float[Tensor, " batch"]:
        losses = F.cross_entropy(logits, truth, reduction="none", label_smoothing=label_smoothing)
        # 1 - p as the sum of the others' probabilities: near p = 1 the difference is rounding, whose power of gamma
        # below 1 has an infinite slope.
        others = logits.softmax(dim=1).scatter(1, truth[:, None], 0.0).sum(dim=1)
        return losses * others.clamp(min=1e-12) ** self.gamma
