"""Classes as directions: the logits are cosines between the fused summary and one learned vector per class.

With many classes and few rows of each it keeps frequent classes from growing longer vectors than rare ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.nn.head import Head, HeadConfig

__all__ = ["CosineHead", "CosineHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class CosineHeadConfig(HeadConfig):
    """One class of several, by the angle to a learned direction for each.

    Attributes:
        scale: What the cosines are multiplied by before the softmax; the larger, the surer it may be.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.CLASSIFICATION})
    type: Literal["cosine"] = "cosine"
    scale: float = 10.0

    def build(self, target: Target, width: int) -> CosineHead:
        self.check(target)
        return CosineHead(self, target, width)


class CosineHead(Head):
    """Scaled cosines from the fused summary."""

    def __init__(self, config: CosineHeadConfig, target: Target, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.scale = config.scale
        self.dropout = nn.Dropout(config.dropout)
        self.directions = nn.Parameter(torch.randn(len(target.classes), width))

    def forward(self, fused: Fused, target: TargetBatch | None = None) -> Float[Tensor, "batch classes"]:
        pooled = F.normalize(self.dropout(fused.pooled), dim=1)
        return self.scale * pooled @ F.normalize(self.directions, dim=1).T

    def row_losses(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch) -> Float[Tensor, " batch"]:
        # A row without the target counts for nothing, neither here nor in `row_counts`.
        return F.cross_entropy(outputs.float(), target.values, reduction="none") * target.present

    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        return target.present.float()

    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        probabilities = outputs.float().softmax(dim=-1)
        return Prediction(probabilities.argmax(dim=-1), probabilities)
