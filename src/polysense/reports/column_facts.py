"""ColumnFacts: what a page of a check shows of a column beside its findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysense.core.preview import CellPreview

__all__ = ["ColumnFacts", "Distribution"]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Numbers about a column's cells.

    Attributes:
        name: "duration".
        num: How many are known.
        quantiles: The lowest, the 5th, 50th and 95th percentile, and the highest.
        counts: In stretches of equal width from the 1st to the 99th percentile, so that one far value does not squeeze
            all others; what lies beyond is counted at the ends.
        bounds: Of these stretches together.
    """

    name: str
    num: int
    quantiles: tuple[float, float, float, float, float]
    counts: tuple[int, ...]
    bounds: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """One of the inputs.

    Attributes:
        name: The input's.
        num_missing: Rows without a cell, of those looked at.
        num_rows: These.
        unreadable: Reasons why cells can't be read, and how many there are of each.
        distributions: Of its numbers.
        values: The most frequent ones with their rows, where they recur.
        num_values: How many there are; None where its cells are no values.
        properties: What else is told of cells, such as the format of their files, each with its most frequent values.
        examples: Some cells.
    """

    name: str
    num_missing: int
    num_rows: int
    unreadable: Sequence[tuple[str, int]]
    distributions: Sequence[Distribution]
    values: Sequence[tuple[str, int]]
    num_values: int | None
    properties: Sequence[tuple[str, Sequence[tuple[str, int]]]]
    examples: Sequence[CellPreview]
