"""Agreement: what two columns of a row say should point the same way, so the mean cosine of their summaries is raised.

An objective is a loss beside the targets' own. It sees one forward of the model and gives losses per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from polysense.core.rows import RowLoss
from polysense.nn.objectives import Blueprint, Objective, ObjectiveConfig, TrainingState

__all__ = ["Agreement", "AgreementConfig"]


@dataclass(frozen=True, kw_only=True)
class AgreementConfig(ObjectiveConfig):
    """The columns' summaries are drawn towards each other.

    Attributes:
        weight: Of the loss.
    """

    type: Literal["agreement"] = "agreement"

    def build(self, blueprint: Blueprint) -> Agreement | None:
        return Agreement(self.weight) if len(blueprint.schema.columns) > 1 else None


class Agreement(Objective):
    """One minus the mean cosine between the columns that a row has."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self._weight = weight

    @property
    def weights(self) -> Mapping[str, float]:
        return {"cosine": self._weight}

    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        columns = list(state.fused.columns.values())
        summaries = F.normalize(torch.stack([column.summary for column in columns], dim=1), dim=2)
        present = torch.stack([column.present for column in columns], dim=1)
        pairs = (present[:, :, None] & present[:, None, :]).float()
        pairs = pairs - torch.diag_embed(present.float())
        cosines = (summaries @ summaries.transpose(1, 2) * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)
        both = present.sum(dim=1) > 1
        return {"cosine": RowLoss((1 - cosines) * both, (state.batch.rows >= 0).float())}
