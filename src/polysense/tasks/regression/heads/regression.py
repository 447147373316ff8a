"""One or several numbers, in the table's own units outside and standardized inside.

Losses are of standardized numbers, so that targets of any unit weigh alike; a value that was recognized as an outlier
has none. What is predicted is back in the table's units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import Truth, ValueTruth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.tokens import Fused
from polysense.nn.estimators.base import ScoreKind
from polysense.nn.head import Head, HeadConfig, Logits, Space, readout, safe, weighted
from polysense.tasks.regression.heads.scaling import Scaling
from polysense.tasks.regression.record import RegressionTarget

__all__ = ["RegressionHead", "RegressionHeadConfig"]

_LOSSES: Mapping[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


@dataclass(frozen=True, kw_only=True)
class RegressionHeadConfig(HeadConfig):
    """One number per target column.

    Attributes:
        loss: "mse"; "mae"; or "huber": squared up to one standard deviation, absolute beyond.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"regression"})
    unimodal: ClassVar[bool] = True
    type: Literal["regression"] = "regression"
    loss: Literal["mse", "mae", "huber"] = "mse"


class RegressionHead(Head[Logits], config=RegressionHeadConfig):
    """Standardized numbers from the fused summary; a row may lack some of several targets (NaN)."""

    score_kind: ClassVar[ScoreKind | None] = "numbers"

    target: RegressionTarget

    def __init__(self, config: RegressionHeadConfig, target: RegressionTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.kind = config.loss
        self.readout = readout(width, config.hidden, config.dropout, len(target.columns))
        self.scaling = Scaling(target.column_scales())

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Logits:
        return Logits(self.readout(fused.pooled))

    def loss(self, output: Logits, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        known = self._known(truth)
        expected = self.scaling.standardized(safe(truth.values, known))
        losses = _LOSSES[self.kind](output.values.float(), expected, reduction="none")
        return {"loss": RowLoss((losses * known).sum(dim=1), known.sum(dim=1).float())}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        assert isinstance(truth, ValueTruth)
        return {"loss": self._known(truth).sum(dim=1).float()}

    @property
    def num_scores(self) -> int:
        return len(self.target.columns)

    def output_of(self, scores: Float[Tensor, "batch scores"]) -> Logits:
        return Logits(scores)

    def learned_values(self, truth: Truth) -> Float[Tensor, "batch scores"]:
        assert isinstance(truth, ValueTruth)
        known = self._known(truth)
        return self.scaling.standardized(safe(truth.values, known)).double().masked_fill(~known, torch.nan)

    def arrays(self, output: Logits) -> dict[str, Tensor]:
        return {"values": self.scaling.restored(output.values.float())}

    def combine(self, outputs: Sequence[Logits], weights: Float[Tensor, "batch experts"], space: Space) -> Logits:
        stacked = torch.stack([output.values for output in outputs], dim=1)
        return Logits(weighted(stacked, weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)))

    def _known(self, truth: ValueTruth) -> Bool[Tensor, "batch outputs"]:
        """What is there and no outlier: a mistyped number teaches nothing."""
        return self.scaling.plausible(truth.values) & truth.present[:, None]
