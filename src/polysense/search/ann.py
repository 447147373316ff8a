"""Approximate nearest neighbor (ANN) search: LanceDB's IVF_RQ, measured against exact search before it is used.

IVF_RQ sorts rows into partitions and stores a bit for each number of a vector (RaBitQ, Gao and Long, SIGMOD 2024); the
nearest partitions are read, and the best of their rows are scored again by whole vectors. Over 300,000 clustered
vectors of 256 it was built in seconds where a graph (IVF_HNSW_SQ) took minutes, at a higher recall and about the same
time per query (docs/results.md). How many partitions a query needs depends on the vectors, so it is measured on these
very ones. Rows of the index are fair queries once each is left out of its own results: partitions, unlike a graph's
links, don't lead to a row because it is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from polysense.search.exact import MARGIN, best_rows
from polysense.search.table import ROW_ID, LanceTable, Rows

__all__ = ["NUM_QUERIES", "RecallReport", "build_ann"]

_K = 10
_ENOUGH = 0.95
_ROWS_PER_PARTITION = 8192
# (nprobes, refine_factor), from fast to thorough. A bit for each number is little where numbers are few, so both grow.
_EFFORTS = ((4, 2), (8, 2), (16, 2), (16, 4), (32, 4), (64, 8), (128, 16), (256, 32))
_NUM_TIMED = 20

NUM_QUERIES = 200
"""Rows of an index that its recall is measured with."""


@dataclass(frozen=True, kw_only=True)
class RecallReport:
    """The recall and the time of an ANN index, measured when it was built.

    Attributes:
        nprobes: Partitions that a query reads.
        refine_factor: How many times as many rows as are returned are scored by their whole vectors. Both are the least
            with a recall of 95%, or the most that were tried.
        recall: recall@10, the share of the true 10 nearest rows that were among the 10 returned.
        num_queries: The sample's size.
        exact_ms: Milliseconds for a query, exactly (median, one query at a time).
        ann_ms: The same with the ANN index.
    """

    nprobes: int
    refine_factor: int
    recall: float
    num_queries: int
    exact_ms: float
    ann_ms: float

    @property
    def is_worthwhile(self) -> bool:
        """Whether to use the ANN index by default: its recall is 95% or more, and it is faster than exact search."""
        return self.recall >= _ENOUGH and self.ann_ms < self.exact_ms

    def text(self) -> str:
        """For people."""
        default = "" if self.is_worthwhile else "; exact search stays the default"
        return (
            f"recall@10 {self.recall:.3f} over {self.num_queries} queries, {self.ann_ms:.2f} ms a query against "
            f"{self.exact_ms:.2f} ms exactly{default}"
        )


def build_ann(
    table: LanceTable,
    queries: Float32[np.ndarray, "queries dim"],
    own: Sequence[int] | Sequence[str],
    exact: Callable[[Float32[np.ndarray, "queries dim"], int], Sequence[Rows]],
) -> RecallReport:
    """Builds an ANN index over a table's rows and measures it.

    Args:
        table: Not empty.
        queries: A sample of the queries to come.
        own: Where the queries are rows of the table: the id of each, which is left out of its results.
        exact: Candidates by exact search, given queries and how many.
    """
    table.build_ann(max(1, table.count() // _ROWS_PER_PARTITION))
    k = _K + (len(own) > 0)

    def top(candidates: Sequence[Rows]) -> list[set[int | str]]:
        ids = [best_rows(query, rows, k)[ROW_ID].to_list() for query, rows in zip(queries, candidates, strict=True)]
        return [{*one} - {*own[number : number + 1]} for number, one in enumerate(ids)]

    truth = top(exact(queries, k + MARGIN))
    for effort in _EFFORTS:
        ids = top([table.nearest(query, k + MARGIN, None, *effort) for query in queries])
        recall = sum(len(one & other) for one, other in zip(ids, truth, strict=True)) / max(1, sum(map(len, truth)))
        if recall >= _ENOUGH:
            break
    timed = queries[:_NUM_TIMED, None]
    return RecallReport(
        nprobes=effort[0],
        refine_factor=effort[1],
        recall=recall,
        num_queries=len(queries),
        exact_ms=_median_ms(lambda query: exact(query, k + MARGIN), timed),
        ann_ms=_median_ms(lambda query: table.nearest(query[0], k + MARGIN, None, *effort), timed),
    )


def _median_ms(search: Callable[[np.ndarray], object], queries: Float32[np.ndarray, "queries one dim"]) -> float:
    times = [time.perf_counter()]
    for query in queries:
        search(query)
        times.append(time.perf_counter())
    return float(np.median(np.diff(times))) * 1e3
