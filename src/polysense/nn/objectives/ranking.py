"""Ranking: one more column must never make a row's loss worse, max(0, l(all columns) - l(some of them)).

SimMLM (Li et al., "SimMLM: A Simple Framework for Multi-modal Learning with Missing Modality", 2025). Which columns are
left out is sampled anew for each row and step, by the row's key. It costs a second pass through the fusion and the
heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.rows import RowLoss
from polysense.core.tokens import Fused
from polysense.nn.head import Head, HeadConfig
from polysense.nn.masking import some_columns
from polysense.nn.objectives.base import Blueprint, Objective, ObjectiveConfig, TrainingState
from polysense.nn.objectives.unimodal import row_count, sum_weighted

__all__ = ["Ranking", "RankingConfig"]


@dataclass(frozen=True, kw_only=True)
class RankingConfig(ObjectiveConfig):
    """Asks that one column more never makes a row's loss worse (SimMLM)."""

    type: Literal["ranking"] = "ranking"

    def build(self, blueprint: Blueprint) -> Ranking | None:
        heads = {name: head for name, head in blueprint.heads.items() if not head.contrasts_rows}
        return Ranking(self, heads) if len(blueprint.schema.columns) > 1 and heads else None


class Ranking(Objective):
    """Reads every head a second time, from some of the columns.

    A head that contrasts rows is left out: an embedding is one column's, whatever else there is.
    """

    def __init__(self, config: RankingConfig, heads: Mapping[str, HeadConfig]) -> None:
        super().__init__()
        self._weights = {name: config.weight * head.loss_weight for name, head in heads.items()}

    @property
    def weights(self) -> Mapping[str, float]:
        return self._weights

    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        tokens = some_columns(state.tokens, state.context.keys)
        views: dict[tuple[str, ...], Fused] = {}
        losses = {}
        for name in self._weights:
            head, more = state.heads[name], state.losses[name]
            if head.excludes not in views:
                views[head.excludes] = state.fuse(tokens, head.excludes)
            fewer = head.loss(state.read(name, views[head.excludes]), state.truths[name])
            worse = _total(head, more) - _total(head, fewer)
            counts = sum_weighted(head, {each: loss.count for each, loss in more.items()})
            losses[name] = RowLoss(worse.clamp(min=0), counts)
        return losses

    def count(self, batch: Batch, heads: Mapping[str, Head[object]]) -> dict[str, Float[Tensor, " batch"]]:
        return {name: row_count(heads[name], batch) for name in self._weights}


def _total(head: Head[object], losses: Mapping[str, RowLoss]) -> Float[Tensor, " batch"]:
    return sum_weighted(head, {name: loss.total for name, loss in losses.items()})
