"""How good and how fast a graph is on these very vectors: recall and time against exact search, before it is used.

The queries are rows that the graph does not hold yet. Rows that it holds, or points near to them, are too easy: on
clustered vectors they found 98% of their neighbours where new draws of the same kind found 93%.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from polysense.search.exact import BLOCK, MARGIN, best, score_again
from polysense.search.graph import BREADTHS, Graph
from polysense.search.snapshot import Snapshot

__all__ = ["ENOUGH", "Measured", "grow"]

ENOUGH = 0.95
"""Recall@10 from which a graph is used without being asked for."""

_K = 10
_NUM_QUERIES = 200
_NUM_TIMED = 20


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The smallest breadth that finds enough, or the largest that was tried; see `GraphEntry`."""

    breadth: int
    recall: float
    num_queries: int
    exact_ms: float
    approximate_ms: float


def grow(
    graph: Graph, snapshot: Snapshot, queries: Float32[np.ndarray, "queries dim"] | None, *, seed: int
) -> Measured:
    """Adds all rows that a graph lacks, and measures it.

    Args:
        graph: Of the snapshot's first rows, or empty.
        snapshot: None of its rows deleted.
        queries: What to ask; None: 200 of the new rows before they are added, a tenth of them if they are fewer.
        seed: Of that sample.
    """
    new = np.arange(len(graph), snapshot.starts[-1])
    count = min(_NUM_QUERIES, len(new) // 10) if queries is None else 0
    last = np.sort(np.random.default_rng(seed).choice(new, count, replace=False))
    first = np.setdiff1d(new, last, assume_unique=True)
    _add(graph, snapshot, first)
    if queries is None:
        # With fewer than ten new rows, those that the graph has must do.
        queries = snapshot.vectors(last if count else graph.order[-_NUM_QUERIES:])
    measured = _measure(graph, snapshot, queries)
    _add(graph, snapshot, last)
    return measured


def _add(graph: Graph, snapshot: Snapshot, positions: Int[np.ndarray, " rows"]) -> None:
    for low in range(0, len(positions), BLOCK):
        block = positions[low : low + BLOCK]
        graph.add(block, snapshot.vectors(block))


def _measure(graph: Graph, snapshot: Snapshot, queries: Float32[np.ndarray, "queries dim"]) -> Measured:
    def top(query: Float32[np.ndarray, " dim"], positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " top"]:
        order = np.argsort(-score_again(query, snapshot.vectors(positions)), kind="stable")
        return positions[order[:_K]]

    vectors = [segment.vectors for segment in snapshot.segments]
    held = np.zeros(snapshot.starts[-1], dtype=bool)
    held[graph.order] = True
    wanted = np.split(held, snapshot.starts[1:-1])
    truth = [top(q, found) for q, found in zip(queries, best(queries, vectors, wanted, _K + MARGIN), strict=True)]
    breadth, recall = BREADTHS[0], 0.0
    for breadth in BREADTHS:
        found = graph.search(queries, _K + MARGIN, breadth=breadth)
        hits = sum(int(np.isin(top(q, f), t).sum()) for q, f, t in zip(queries, found, truth, strict=True))
        recall = hits / max(1, sum(len(one) for one in truth))
        if recall >= ENOUGH:
            break
    everything = [None] * len(vectors)
    exact, approximate = [], []
    for query in queries[:_NUM_TIMED, None]:
        start = time.perf_counter()
        best(query, vectors, everything, _K + MARGIN)
        middle = time.perf_counter()
        graph.search(query, _K + MARGIN, breadth=breadth)
        exact.append(middle - start)
        approximate.append(time.perf_counter() - middle)
    return Measured(
        breadth=breadth,
        recall=recall,
        num_queries=len(queries),
        exact_ms=float(np.median(exact)) * 1e3,
        approximate_ms=float(np.median(approximate)) * 1e3,
    )
