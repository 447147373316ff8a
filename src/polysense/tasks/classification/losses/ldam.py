"""LDAM: a margin for each class, wider the rarer it is.

Of a class of n rows the true class's logit must win by a margin in proportion to n^(-1/4), which balances how well
rare and frequent classes generalize (Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin
Loss", NeurIPS 2019, equations 10 to 13). Margins mean something between directions alone, so the last layer compares
directions: its logits are cosines times a scale. The authors' schedule weighs classes only in the last fifth of the
training: `class_weights: effective_number` with `class_weights_from: 0.8` (deferred re-weighting, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from polysense.config.limits import PositiveFloat
from polysense.tasks.classification.losses.base import ClassLoss, ClassLossConfig
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["LDAM", "LDAMConfig"]


@dataclass(frozen=True, kw_only=True)
class LDAMConfig(ClassLossConfig):
    """Cross entropy of cosines, from the true one of which a margin is taken that is wider for rare classes.

    Attributes:
        margin: Of the rarest class, as a difference of cosines.
        scale: Factor on the cosines.
    """

    type: Literal["ldam"] = "ldam"
    margin: PositiveFloat = 0.5
    scale: PositiveFloat = 30.0

    @property
    def corrections(self) -> Sequence[str]:
        return ("loss: ldam",)


class LDAM(ClassLoss, config=LDAMConfig):
    """Rare classes must win by more."""

    margins: Tensor

    def __init__(self, config: LDAMConfig, target: ClassificationTarget) -> None:
        super().__init__(config, target)
        self.scale = config.scale
        roots = torch.tensor([max(count, 1) ** -0.25 for count in target.class_counts])
        self.register_buffer("margins", config.scale * config.margin * roots / roots.max(), persistent=False)

    def learned(
        self, logits: Float[Tensor, "batch classes"], truth: Int[Tensor, " batch"], label_smoothing: float
    ) -> Float[Tensor, " batch"]:
        margins = F.one_hot(truth, logits.shape[1]) * self.margins
        return F.cross_entropy(logits - margins, truth, reduction="none", label_smoothing=label_smoothing)
