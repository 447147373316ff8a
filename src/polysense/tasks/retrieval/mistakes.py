"""The searches whose right candidate stands farthest down, for each direction."""

from __future__ import annotations

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.retrieval.metrics import directions
from polysense.tasks.retrieval.nearest import can_search, nearest
from polysense.tasks.retrieval.record import RetrievalTarget

__all__ = ["mistakes"]

_MAX_ROWS = 6
_MAX_DIRECTIONS = 6
_MAX_QUERIES = 2000  # that are looked at


def mistakes(target: RetrievalTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """The worst queries by rank; see `TaskSpec.mistakes`."""
    statistics = evaluation.statistics[target.name]
    embeddings, keys, present = (statistics[name] for name in ("embeddings", "keys", "present"))
    groups = []
    for one, other in directions(target.members, target.anchor)[:_MAX_DIRECTIONS]:
        able = can_search(embeddings, keys, present, one, other)[:_MAX_QUERIES]
        column = target.members[other]
        ranked = sorted(
            nearest(embeddings, keys, (one, other), able, 1, column=column), key=lambda result: -result.rank
        )
        wrong = [result for result in ranked if result.rank > 1]
        if wrong:
            listed = [
                Mistake(
                    position=result.position,
                    words=f"rank {result.rank:g} of {result.num_candidates:,} candidates",
                )
                for result in wrong[:_MAX_ROWS]
            ]
            title = f"{target.members[one]} that searches for {column}"
            groups.append(MistakeGroup(title=title, total=len(wrong), mistakes=listed))
    return groups
