"""Any number of labels per row, by a binary cross entropy each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.nn.head import Head, HeadConfig, Space, readout, weighted

__all__ = ["MultilabelHead", "MultilabelHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class MultilabelHeadConfig(HeadConfig):
    """A yes or no for each label, trained with binary cross entropy.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        hidden: Width of a hidden layer before the output; 0 = linear.
        dropout: Before the output.
        class_weights: "none", or "balanced": a label's positives weigh as much as its negatives together.
        threshold: A label is predicted where its probability is at least this.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.MULTILABEL})
    type: Literal["multilabel"] = "multilabel"
    class_weights: Literal["none", "balanced"] = "none"
    threshold: float = 0.5

    def build(self, target: Target, width: int) -> MultilabelHead:
        self.check(target)
        return MultilabelHead(self, target, width)


class MultilabelHead(Head):
    """One logit per label from the fused summary."""

    positive_weight: Tensor

    def __init__(self, config: MultilabelHeadConfig, target: Target, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.threshold = config.threshold
        self.readout = readout(width, config.hidden, config.dropout, len(target.classes))
        positive = torch.ones(len(target.classes))
        if config.class_weights == "balanced":
            counts = torch.tensor(target.class_counts, dtype=torch.float32)
            positive = ((target.num_rows - counts).clamp(min=1) / counts.clamp(min=1)).clamp(max=100.0)
        self.register_buffer("positive_weight", positive, persistent=False)

    def forward(self, fused: Fused, target: TargetBatch | None = None) -> Float[Tensor, "batch classes"]:
        outputs: Tensor = self.readout(fused.pooled)
        return outputs

    def row_losses(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch) -> Float[Tensor, " batch"]:
        losses = F.binary_cross_entropy_with_logits(
            outputs.float(), target.values, pos_weight=self.positive_weight, reduction="none"
        ).mean(dim=1)
        return losses * target.present

    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        return target.present.float()

    def combine(
        self, outputs: Float[Tensor, "batch experts ..."], votes: Float[Tensor, "batch experts"], space: Space
    ) -> Float[Tensor, "batch ..."]:
        if space == "logits":
            return weighted(outputs, votes)
        shares = votes / votes.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return weighted(outputs.float().sigmoid(), shares).logit(eps=1e-7)

    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        probabilities = outputs.float().sigmoid()
        return Prediction(probabilities >= self.threshold, probabilities)
