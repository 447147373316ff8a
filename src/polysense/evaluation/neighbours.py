"""What some rows find in a shared space, not as a number: the nearest candidates, and where the right one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polysense.tasks.retrieval.candidates import Candidates, there_of

__all__ = ["Nearest", "can_look", "nearest"]


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """What one row's cell finds among another column's.

    Attributes:
        position: The row that looks.
        found: The rows whose cells lie nearest, best first.
        similarities: Their cosines.
        right: Which of them belong to it.
        rank: Of the first right one among all candidates, from 1; equal similarities count half.
        best_right: The row of the first right one.
        num_candidates: What was looked among.
    """

    position: int
    found: tuple[int, ...]
    similarities: tuple[float, ...]
    right: tuple[bool, ...]
    rank: float
    best_right: int
    num_candidates: int


def can_look(places: np.ndarray, keys: np.ndarray, present: np.ndarray, one: int, other: int) -> np.ndarray:
    """The rows that have both columns; int64 positions."""
    there = there_of(places, keys)
    return np.flatnonzero(present & there[:, one] & there[:, other])


def nearest(
    places: np.ndarray, keys: np.ndarray, one: int, other: int, rows: Sequence[int] | np.ndarray, most: int
) -> list[Nearest]:
    """What some rows' one column finds in the other, among all rows.

    Args:
        places: float [rows, columns, size], NaN where a column is absent.
        keys: int64 [rows, columns or one more], what a cell holds, 0 where it is missing.
        one: The column that looks, as a position.
        other: The column that is looked among.
        rows: Which rows look; each has both columns.
        most: Candidates to name.
    """
    positions = np.asarray(rows, dtype=np.int64)
    if not len(positions):
        return []
    among = Candidates(places, keys, other)
    scores, right = among.scores(positions, one), among.right(positions, one)
    found = []
    for row, own, belongs in zip(positions.tolist(), scores, right, strict=True):
        order = np.argsort(-own, kind="stable")[:most]
        best = int(np.where(belongs, own, -np.inf).argmax())
        ahead, equal = int((own > own[best]).sum()), int(((own == own[best]) & ~belongs).sum())
        found.append(
            Nearest(
                position=row,
                found=tuple(int(among.rows[i]) for i in order),
                similarities=tuple(float(own[i]) for i in order),
                right=tuple(bool(belongs[i]) for i in order),
                rank=ahead + 1 + equal / 2,
                best_right=int(among.rows[best]),
                num_candidates=len(among.rows),
            )
        )
    return found
