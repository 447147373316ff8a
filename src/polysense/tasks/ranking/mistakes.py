"""The choices that stand farthest down in their rankings."""

from __future__ import annotations

import math

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.ranking.record import RankingTarget

__all__ = ["mistakes", "rank_in_words"]

_MAX_ROWS = 6


def rank_in_words(rank: float, num_items: int) -> str:
    """Where an item stands."""
    if not math.isfinite(rank):
        return "not in the catalogue"
    return f"rank {rank:g} of {num_items:,}"


def mistakes(target: RankingTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """The worst choices by rank, of items that training holds and of others; see `TaskSpec.mistakes`."""
    statistics = evaluation.statistics[target.name]
    groups = []
    for title, is_kind in (
        ("items that training holds", statistics["item_count"] > 0),
        ("items that no training row holds", statistics["item_count"] == 0),
    ):
        wrong = np.flatnonzero(statistics["present"] & is_kind & (statistics["rank"] > 20))
        if len(wrong):
            worst = wrong[np.argsort(-statistics["rank"][wrong], kind="stable")][:_MAX_ROWS]
            listed = [
                Mistake(position=int(i), words=rank_in_words(float(statistics["rank"][i]), target.num_items))
                for i in worst
            ]
            groups.append(MistakeGroup(title=f"choices of {title}", total=len(wrong), mistakes=listed))
    return groups
