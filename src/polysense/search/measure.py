"""How good and how fast approximate search is on these very vectors: recall and time against exact search, before use.

A graph's queries are rows that it does not hold yet. Rows that it holds, or points near to them, are too easy: on
clustered vectors they found 98% of their neighbours where new draws of the same kind found 93%.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from polysense.search.exact import BLOCK, MARGIN, best, score_again
from polysense.search.graph import BREADTHS, Graph
from polysense.search.manifest import ENOUGH, Measured
from polysense.search.snapshot import Snapshot

__all__ = ["NEAREST", "grow", "measured"]

NEAREST = 10
"""Of how many neighbours recall is the share."""

_NUM_QUERIES = 200
_NUM_TIMED = 20


def measured(
    queries: Float32[np.ndarray, "queries dim"],
    truth: Sequence[Any],
    find: Callable[[int], Sequence[Any]],
    exact: Callable[[Float32[np.ndarray, "one dim"]], object],
    approximate: Callable[[Float32[np.ndarray, "one dim"], int], object],
    breadths: Sequence[int],
) -> Measured:
    """Looks for the smallest breadth that finds enough, and sets its time beside exact search's.

    Args:
        queries: What is asked for.
        truth: Per query, the nearest rows.
        find: What is found for each query, at a breadth.
        exact: Answers one query exactly.
        approximate: Answers one query at a breadth.
        breadths: From fast to thorough.
    """
    breadth, recall = breadths[0], 0.0
    for breadth in breadths:
        hits = sum(int(np.isin(found, near).sum()) for found, near in zip(find(breadth), truth, strict=True))
        recall = hits / max(1, sum(len(near) for near in truth))
        if recall >= ENOUGH:
            break
    exactly, approximately = [], []
    for query in queries[:_NUM_TIMED, None]:
        start = time.perf_counter()
        exact(query)
        middle = time.perf_counter()
        approximate(query, breadth)
        exactly.append(middle - start)
        approximately.append(time.perf_counter() - middle)
    return Measured(
        breadth=breadth,
        recall=recall,
        num_queries=len(queries),
        exact_ms=float(np.median(exactly)) * 1e3,
        approximate_ms=float(np.median(approximately)) * 1e3,
    )


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
    count = NEAREST + MARGIN

    def top(query: Float32[np.ndarray, " dim"], positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " top"]:
        order = np.argsort(-score_again(query, snapshot.vectors(positions)), kind="stable")
        return positions[order[:NEAREST]]

    def find(breadth: int) -> list[Int[np.ndarray, " top"]]:
        return [top(q, found) for q, found in zip(queries, graph.search(queries, count, breadth=breadth), strict=True)]

    vectors = [segment.vectors for segment in snapshot.segments]
    held = np.zeros(snapshot.starts[-1], dtype=bool)
    held[graph.order] = True
    wanted = np.split(held, snapshot.starts[1:-1])
    truth = [top(q, found) for q, found in zip(queries, best(queries, vectors, wanted, count), strict=True)]
    return measured(
        queries,
        truth,
        find,
        lambda query: best(query, vectors, [None] * len(vectors), count),
        lambda query, breadth: graph.search(query, count, breadth=breadth),
        BREADTHS,
    )
