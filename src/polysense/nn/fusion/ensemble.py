"""The unimodal ensemble: models of one column each, trained apart, their probabilities averaged.

Nothing is fused, so it is the baseline that a fusion must beat: balancing methods "struggle to surpass even simple
baselines, such as ensembles" (arXiv 2411.07335). No loss of the average is trained on; each encoder's gradient is what
it would be without the others (clipping by the gradient's common norm apart).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from polysense.nn.fusion.base import FusionConfig
from polysense.nn.fusion.late import LateFusion

__all__ = ["EnsembleFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class EnsembleFusionConfig(FusionConfig):
    """Unimodal ensemble: a model per column, trained on its own loss alone; their probabilities are averaged."""

    type: Literal["ensemble"] = "ensemble"

    def build(self, columns: Sequence[str], width: int) -> LateFusion:
        return LateFusion(columns, width, weights="uniform", apart=True, space="probabilities")
