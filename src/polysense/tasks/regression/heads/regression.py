"""One or several numbers, in the table's own units outside and standardized inside.

Losses are of standardized numbers, so that targets of any unit weigh alike; a value that was recognized as an outlier
has none. What is predicted is back in the table's units.
"""

from __future__ import annotations

import math
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
from polysense.nn.head import Head, HeadConfig, Logits, Space, readout
from polysense.nn.layers.rowwise import safe, weighted
from polysense.tasks.regression.conformal import conformal_margin
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
    """Standardized numbers from the fused summary; a row may lack some of several targets (NaN).

    Attributes:
        margin: [targets], half of the interval's width in standard deviations; 0 where none is fitted, or none is
            finite.
    """

    score_kind: ClassVar[ScoreKind | None] = "numbers"

    margin: Tensor
    target: RegressionTarget

    mixes = True

    def __init__(self, config: RegressionHeadConfig, target: RegressionTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.kind = config.loss
        self.readout = readout(width, config.hidden, config.dropout, len(target.columns))
        self.scaling = Scaling(target.column_scales())
        self.register_buffer("margin", torch.zeros(len(target.columns)))

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

    def translated(self, output: Logits, other: Head[Logits]) -> Logits:
        assert isinstance(other, RegressionHead)
        return Logits(self.scaling.standardized(other.scaling.to(output.values.device).restored(output.values.float())))

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
        scaled = output.values.float()
        arrays = {"values": self.scaling.restored(scaled)}
        is_known = self.margin > 0
        if bool(is_known.any()):
            for name, bound in (("low", scaled - self.margin), ("high", scaled + self.margin)):
                arrays[name] = torch.where(is_known, self.scaling.restored(bound), torch.nan)
        return arrays

    @property
    def calibrates(self) -> bool:
        return self.target.interval > 0

    def calibrate(self, output: Logits, truth: Truth, weights: Float[Tensor, " batch"]) -> str | None:
        """Fits each column's margin; every row counts once, whatever it weighs."""
        assert isinstance(truth, ValueTruth)
        known = truth.values.isfinite() & (truth.present & (weights > 0))[:, None]
        values = safe(truth.values, known)
        residuals = (output.values.float() - self.scaling.standardized(values)).abs()
        everything = torch.full_like(residuals, 1e30)
        inside = (values >= self.scaling.restored(-everything)) & (values <= self.scaling.restored(everything))
        distances = residuals.masked_fill(~inside, torch.inf).double().cpu().numpy()
        level, rows = self.target.interval, known.cpu().numpy()
        margins = [conformal_margin(distances[rows[:, i], i], level) for i in range(rows.shape[1])]
        self.margin.copy_(torch.tensor(margins).nan_to_num(posinf=0.0))
        if not any(map(math.isfinite, margins)):
            return None
        listed = ", ".join(f"{margin:.2f}" for margin in margins)
        return f"{100 * level:g}% intervals of {listed} standard deviations to both sides"

    def combine(self, outputs: Sequence[Logits], weights: Float[Tensor, "batch experts"], space: Space) -> Logits:
        stacked = torch.stack([output.values for output in outputs], dim=1)
        return Logits(weighted(stacked, weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)))

    def _known(self, truth: ValueTruth) -> Bool[Tensor, "batch outputs"]:
        """What is there and no outlier: a mistyped number teaches nothing."""
        return self.scaling.plausible(truth.values) & truth.present[:, None]
