"""Search a joint embedding space from some rows: the nearest candidates, and the rank of the correct one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.random import permutation
from polysense.core.sample_output import Nearest, Retrieval
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.retrieval.candidates import Candidates, there_of
from polysense.tasks.retrieval.metrics import directions
from polysense.tasks.retrieval.record import RetrievalTarget

__all__ = ["can_search", "nearest", "retrievals"]


def can_search(embeddings: np.ndarray, keys: np.ndarray, present: np.ndarray, one: int, other: int) -> np.ndarray:
    """The rows that have both columns; int64 positions."""
    there = there_of(embeddings, keys)
    return np.flatnonzero(present & there[:, one] & there[:, other])


def nearest(
    embeddings: np.ndarray,
    keys: np.ndarray,
    direction: tuple[int, int],
    rows: Sequence[int] | np.ndarray,
    most: int,
    *,
    column: str,
) -> list[Nearest]:
    """The cells of a column nearest to some rows' cells of another, among all rows.

    Args:
        embeddings: float [rows, columns, size], NaN where a column is absent.
        keys: int64 [rows, columns or one more], what a cell holds, 0 where it is missing.
        direction: The column of the queries and the one that is searched, as positions.
        rows: The queries; each has both columns.
        most: Candidates to name.
        column: Name of the column that is searched.
    """
    positions = np.asarray(rows, dtype=np.int64)
    if not len(positions):
        return []
    one, other = direction
    among = Candidates(embeddings, keys, other)
    results = []
    for row, own, belongs in zip(
        positions.tolist(), among.scores(positions, one), among.right(positions, one), strict=True
    ):
        order = np.argsort(-own, kind="stable")[:most]
        best = int(np.where(belongs, own, -np.inf).argmax())
        ahead, equal = int((own > own[best]).sum()), int(((own == own[best]) & ~belongs).sum())
        results.append(
            Nearest(
                column=column,
                position=row,
                rows=tuple(int(among.rows[i]) for i in order),
                similarities=tuple(float(own[i]) for i in order),
                correct=tuple(bool(belongs[i]) for i in order),
                rank=ahead + 1 + equal / 2,
                best_correct=int(among.rows[best]),
                num_candidates=len(among.rows),
            )
        )
    return results


def retrievals(
    target: RetrievalTarget, evaluation: Evaluation, num_queries: int, num_neighbors: int, seed: int
) -> list[Retrieval]:
    """Some rows' searches in every direction, and how well all rows' go; see `TaskSpec.searches`."""
    statistics, metrics = evaluation.statistics[target.name], evaluation.metrics[target.name]
    embeddings, keys, present = (statistics[name] for name in ("embeddings", "keys", "present"))
    results = []
    for one, other in directions(target.members, target.anchor):
        able = can_search(embeddings, keys, present, one, other)
        if not len(able):
            continue
        query, column = target.members[one], target.members[other]
        chosen = np.sort(able[permutation(len(able), seed, "neighbors")[:num_queries]])
        ranked = nearest(embeddings, keys, (one, other), chosen, num_neighbors, column=column)
        share, rank = (metrics[f"{name}/{query} to {column}"] for name in (f"recall_at_{num_neighbors}", "median_rank"))
        note = (
            f"{len(able):,} queries: recall@{num_neighbors} is {100 * share.value:.0f}% among "
            f"{ranked[0].num_candidates:,} candidates, the median rank of the correct one {rank.value:.0f}."
        )
        results.append(Retrieval(query=query, column=column, note=note, nearest=tuple(ranked)))
    return results
