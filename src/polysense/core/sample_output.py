"""A prediction of one row in words, beside what is correct: what samples.html, samples.jsonl and TensorBoard show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysense.core.report_section import ReportSection

__all__ = ["Nearest", "Retrieval", "SampleOutput"]


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The cells of one column that lie nearest to one row's cell of another.

    Attributes:
        column: The column that was searched.
        position: The row of the query.
        rows: The rows of the nearest cells, best first.
        similarities: Their cosines.
        correct: Which of them belong to the query.
        rank: Of the first correct one among all candidates, from 1; equal similarities count half.
        best_correct: The row of the first correct one.
        num_candidates: Cells that were searched.
    """

    column: str
    position: int
    rows: tuple[int, ...]
    similarities: tuple[float, ...]
    correct: tuple[bool, ...]
    rank: float
    best_correct: int
    num_candidates: int


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Some rows' searches from one column to another.

    Attributes:
        query: The column of the queries.
        column: The column that was searched.
        note: How well that goes over all rows.
        nearest: One per query.
    """

    query: str
    column: str
    note: str
    nearest: tuple[Nearest, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleOutput:
    """One prediction of one row.

    Attributes:
        references: What is correct; several texts may be. Empty for a search, whose cells are previewed.
        value: The prediction.
        probability: Of the prediction, where it is one of several.
        is_correct: None where there is no right or wrong (numbers).
        direction: Which of a target's several predictions, as "photo to text"; else "".
        section: How the task shows what is correct and what was predicted, where words don't do.
        nearest: Of a search.
    """

    references: Sequence[str]
    value: str
    probability: float | None = None
    is_correct: bool | None = None
    direction: str = ""
    section: ReportSection | None = None
    nearest: Nearest | None = None
