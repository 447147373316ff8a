"""From queries to rows: candidates, exactly or along a graph, then scored again and put in order.

A graph covers the rows that were there when it was built. What came since is scored exactly beside it, what went is
walked over, and where a walk finds fewer rows than there are, all are scored: a filter never costs results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

from polysense.search.exact import BLOCK, MARGIN, best, score_again
from polysense.search.graph import Graph
from polysense.search.neighbours import Neighbours
from polysense.search.segment import ROW_ID
from polysense.search.snapshot import Snapshot

__all__ = ["Candidates", "nearest", "ranked"]

# With fewer rows that meet a filter they are all scored: the graph would be walked for rows that may not be found.
_FEW_ROWS = 20_000
_FEW_SHARE = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidates:
    """Rows among which the nearest are.

    Attributes:
        positions: Per query.
        walked: Per query, whether the graph gave them.
    """

    positions: list[Int[np.ndarray, " _"]]
    walked: list[bool]


def nearest(
    snapshot: Snapshot,
    graph: Graph | None,
    queries: Float32[np.ndarray, "queries dim"],
    k: int,
    wanted: list[Bool[np.ndarray, " _"] | None],
    *,
    threads: int,
) -> Candidates:
    """Somewhat more than the k nearest rows to each query.

    Args:
        snapshot: The rows.
        graph: Of the snapshot; None scores every row.
        queries: As rows are stored.
        k: How many.
        wanted: Per segment, which rows may be found; None: all.
        threads: Of the exact search.
    """
    vectors = [segment.vectors for segment in snapshot.segments]
    count = k + MARGIN
    entry = snapshot.manifest.graph
    if graph is None or entry is None:
        exact = best(queries, vectors, wanted, count, threads=threads)
        return Candidates(positions=exact, walked=[False] * len(queries))
    covered = entry.num_segments
    allowed = None
    if any(keep is not None for keep in wanted[:covered]):
        pairs = zip(vectors[:covered], wanted, strict=False)
        allowed = np.concatenate([np.ones(len(v), dtype=bool) if keep is None else keep for v, keep in pairs])
    num_allowed = len(graph) if allowed is None else int(allowed.sum())
    if allowed is not None and num_allowed <= max(_FEW_ROWS, _FEW_SHARE * len(graph), k):
        return nearest(snapshot, None, queries, k, wanted, threads=threads)
    near = graph.search(queries, count, breadth=entry.breadth, wanted=allowed)
    late = best(queries, vectors[covered:], wanted[covered:], count, threads=threads)
    origin = int(snapshot.starts[covered])
    positions = [np.concatenate([a, origin + b]) for a, b in zip(near, late, strict=True)]
    short = [query for query, found in enumerate(near) if len(found) < min(k, num_allowed)]
    if short:
        again = best(queries[short], vectors, wanted, count, threads=threads)
        for query, found in zip(short, again, strict=True):
            positions[query] = found
    return Candidates(positions=positions, walked=[query not in short for query in range(len(queries))])


def ranked(
    snapshot: Snapshot,
    queries: Float32[np.ndarray, "queries dim"],
    candidates: Candidates,
    k: int,
    columns: Sequence[str],
) -> list[Neighbours]:
    """The k best candidates of each query, equal scores by row id, with some of their columns."""
    ids, scores, chosen = [], [], []
    for query, positions in zip(queries, candidates.positions, strict=True):
        blocks = (positions[low : low + BLOCK] for low in range(0, max(1, len(positions)), BLOCK))
        found = np.concatenate([score_again(query, snapshot.vectors(block)) for block in blocks])
        names = snapshot.rows(positions, [ROW_ID])[ROW_ID].to_list()
        order = sorted(range(len(names)), key=lambda i, f=found, n=names: (-f[i], n[i]))[:k]  # type: ignore[misc]
        ids.append([names[i] for i in order])
        scores.append(found[order])
        chosen.append(positions[order])
    # All queries' rows at once: a table's cells cost less together.
    metadata = snapshot.rows(np.concatenate([np.zeros(0, dtype=np.int64), *chosen]), columns)
    starts = np.cumsum([0, *(len(one) for one in chosen)])
    return [
        Neighbours(ids=names, scores=found, metadata=metadata[int(low) : int(low) + len(names)], approximate=walked)
        for names, found, low, walked in zip(ids, scores, starts[:-1], candidates.walked, strict=True)
    ]
