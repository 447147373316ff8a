"""Poisson regression: the logarithm of the expected count is read from the fused summary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import Truth, ValueTruth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.nn.head import Head, HeadConfig, Logits, readout
from polysense_example.count.record import CountTarget

__all__ = ["PoissonHead", "PoissonHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class PoissonHeadConfig(HeadConfig):
    """The expected count, learned by Poisson's likelihood."""

    tasks: ClassVar[frozenset[str]] = frozenset({"count"})
    type: Literal["count"] = "count"

    def build(self, target: Target, width: int) -> PoissonHead:
        self.check(target)
        return PoissonHead(self, CountTarget.of(target), width)


class PoissonHead(Head[Logits]):
    """log(rate) - log(training mean), so that it begins near the mean."""

    def __init__(self, config: PoissonHeadConfig, target: CountTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.readout = readout(width, config.hidden, config.dropout, 1)
        self.offset = math.log(target.mean)

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Logits:
        return Logits(self.readout(fused.pooled) + self.offset)

    def loss(self, output: Logits, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        # A row without the target counts for nothing, neither here nor in `count`.
        counts, there = truth.values.float(), truth.present.float()
        losses = F.poisson_nll_loss(output.values.float()[:, 0], counts, full=True, reduction="none")
        return {"loss": RowLoss(losses * there, there)}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        return {"loss": truth.present.float()}

    def arrays(self, output: Logits) -> dict[str, Tensor]:
        return {"values": output.values.float()[:, 0].exp()}
