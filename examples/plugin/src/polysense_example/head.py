"""Classes as directions: the logits are cosines between the fused summary and one learned vector per class.

With many classes and few rows of each it keeps frequent classes from growing longer vectors than rare ones. A second
loss keeps the directions of two classes from becoming the same; each loss has its own weight and count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import Truth, ValueTruth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.nn.head import Head, HeadConfig, Logits

__all__ = ["CosineHead", "CosineHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class CosineHeadConfig(HeadConfig):
    """One class of several, by the angle to a learned direction for each.

    Attributes:
        scale: What the cosines are multiplied by before the softmax; the larger, the surer it may be.
        separation: Weight of the second loss, the row's cosine to the wrong class that it is closest to.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    type: Literal["cosine"] = "cosine"
    scale: float = 10.0
    separation: float = 0.1

    def build(self, target: Target, width: int) -> CosineHead:
        self.check(target)
        return CosineHead(self, target, width)


class CosineHead(Head[Logits]):
    """Scaled cosines from the fused summary."""

    def __init__(self, config: CosineHeadConfig, target: Target, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.scale, self.separation = config.scale, config.separation
        self.dropout = nn.Dropout(config.dropout)
        self.directions = nn.Parameter(torch.randn(len(target.classes), width))

    @property
    def loss_weights(self) -> Mapping[str, float]:
        return {"cross_entropy": 1.0, "separation": self.separation}

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Logits:
        pooled = F.normalize(self.dropout(fused.pooled), dim=1)
        return Logits(self.scale * pooled @ F.normalize(self.directions, dim=1).T)

    def loss(self, output: Logits, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        # A row without the target counts for nothing, neither here nor in `count`.
        logits, counts = output.values.float(), truth.present.float()
        wrong = logits.masked_fill(F.one_hot(truth.values, logits.shape[1]).bool(), -torch.inf)
        return {
            "cross_entropy": RowLoss(F.cross_entropy(logits, truth.values, reduction="none") * counts, counts),
            "separation": RowLoss(wrong.amax(dim=1).clamp(min=0) / self.scale * counts, counts),
        }

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        return dict.fromkeys(self.loss_weights, truth.present.float())

    def arrays(self, output: Logits) -> dict[str, Tensor]:
        probabilities = output.values.float().softmax(dim=-1)
        return {"values": probabilities.argmax(dim=-1), "probabilities": probabilities}
