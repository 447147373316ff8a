"""ClassLoss: what a classification head minimizes in each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.base import Configured, Family
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["ClassLoss", "ClassLossConfig", "log_prior"]


@dataclass(frozen=True, kw_only=True)
class ClassLossConfig(Family, family="loss", homes=("tasks.*.losses.*",)):
    """The loss of a head that predicts one class of several."""

    type: str

    def build(self, target: ClassificationTarget) -> ClassLoss:
        """The loss for a fitted target."""
        assert self.builds is not None, f"the loss {self.type!r} can't be built: no class names its config"
        loss: ClassLoss = self.builds(self, target)
        return loss

    @property
    def corrections(self) -> Sequence[str]:
        """What of it corrects for uneven classes, in words."""
        return ()


class ClassLoss(nn.Module, Configured):
    """A loss of each row; it has no parameters. As it stands it is cross entropy.

    In evaluation mode every loss is the cross entropy of the logits under the training shares: held-out rows weigh the
    experts of an ensemble, and margins or factors that shape the training would weigh them wrong.

    Attributes:
        scale: Where the last layer is to compare directions alone, the factor on its cosines; None: it is linear.
    """

    scale: float | None = None

    def __init__(self, config: ClassLossConfig, target: ClassificationTarget) -> None:
        del config, target
        super().__init__()

    def forward(
        self, logits: Float[Tensor, "batch classes"], truth: Int[Tensor, " batch"], label_smoothing: float
    ) -> Float[Tensor, " batch"]:
        """The loss of each row, before class weights.

        Args:
            logits: What the head gives; softmax of them is what it predicts.
            truth: Ids of the true classes.
            label_smoothing: Share of the target probability that is spread over all classes.
        """
        logits = self.under_training_shares(logits)
        if self.training:
            return self.learned(logits, truth, label_smoothing)
        return F.cross_entropy(logits, truth, reduction="none", label_smoothing=label_smoothing)

    def learned(
        self, logits: Float[Tensor, "batch classes"], truth: Int[Tensor, " batch"], label_smoothing: float
    ) -> Float[Tensor, " batch"]:
        """The loss that is trained on, of logits under the training shares."""
        return F.cross_entropy(logits, truth, reduction="none", label_smoothing=label_smoothing)

    def under_training_shares(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        """The logits of rows whose classes are as frequent as in training, where the head's own are of other rows."""
        return logits


def log_prior(target: ClassificationTarget) -> Float[Tensor, " classes"]:
    """The log of each class's share of the training rows; of a class without rows that of one row."""
    rows = target.class_counts or (1,) * len(target.classes)  # of a target that nobody counted: even classes
    counts = torch.tensor([max(count, 1) for count in rows], dtype=torch.float64)
    return (counts / counts.sum()).log().float()
