"""Search a joint embedding space from some rows: the nearest candidates, and the rank of the correct one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.sample_output import Nearest
from polysense.tasks.retrieval.candidates import Candidates, there_of

__all__ = ["can_search", "nearest"]


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
