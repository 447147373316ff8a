"""One or several numbers, in the table's own units outside and standardised inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.nn.head import Head, HeadConfig, readout, safe

__all__ = ["RegressionHead", "RegressionHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class RegressionHeadConfig(HeadConfig):
    """One number per target column.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        hidden: Width of a hidden layer before the output; 0 = linear.
        dropout: Before the output.
        loss: "mse"; "mae"; or "huber": squared up to one standard deviation, absolute beyond.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.REGRESSION})
    type: Literal["regression"] = "regression"
    loss: Literal["mse", "mae", "huber"] = "mse"

    def build(self, target: Target, width: int) -> RegressionHead:
        self.check(target)
        return RegressionHead(self, target, width)


class RegressionHead(Head):
    """Standardised numbers from the fused summary; a row may lack some of several targets (NaN)."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: RegressionHeadConfig, target: Target, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.kind = config.loss
        self.readout = readout(width, config.hidden, config.dropout, len(target.columns))
        self.register_buffer("mean", torch.tensor(target.mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(target.std, dtype=torch.float32), persistent=False)

    def forward(self, fused: Fused, target: TargetBatch | None = None) -> Float[Tensor, "batch outputs"]:
        outputs: Tensor = self.readout(fused.pooled)
        return outputs

    def row_losses(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch) -> Float[Tensor, " batch"]:
        known = self._known(target)
        wanted = (safe(target.values, known) - self.mean) / self.std
        match self.kind:
            case "mse":
                losses = F.mse_loss(outputs.float(), wanted, reduction="none")
            case "mae":
                losses = F.l1_loss(outputs.float(), wanted, reduction="none")
            case _:
                losses = F.huber_loss(outputs.float(), wanted, reduction="none")
        return (losses * known).sum(dim=1)

    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        return self._known(target).sum(dim=1).float()

    def _known(self, target: TargetBatch) -> Bool[Tensor, "batch outputs"]:
        return ~target.values.isnan() & target.present[:, None]

    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        return Prediction(outputs.float() * self.std + self.mean)
