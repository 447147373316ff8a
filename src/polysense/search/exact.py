"""The k largest scores by brute force: blocks of a matrix product, and what beats the k-th best so far.

A block of 16,384 rows times 64 queries is 4 MiB of scores, which stays in a core's cache until the best are taken out;
smaller blocks cost Python, larger ones memory traffic. After the first block few scores beat the worst of the best, so
one comparison replaces the partial sort: 133 ms against 164 ms for 64 queries over 100,000 vectors of 256 on one busy
core.

What the product finds is scored again, in float64: a product's last bits depend on the block's shape, and a row's score
should depend on the row and the query alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

__all__ = ["BLOCK", "MARGIN", "best", "score_again"]

BLOCK = 16_384
"""Rows of a block."""

MARGIN = 16
"""How many more than k are kept until they are scored again, for scores that differ in their last bits only."""

# Above this share of wanted rows a block is multiplied whole; gathering rows costs about as much as multiplying them.
_WHOLE = 0.5
_MOST_QUERIES = 256

Candidates = tuple[Float32[np.ndarray, "queries kept"], Int[np.ndarray, "queries kept"]]


def best(
    queries: Float32[np.ndarray, "queries dim"],
    blocks: Sequence[Float[np.ndarray, "_ dim"]],
    wanted: Sequence[Bool[np.ndarray, " _"] | None],
    count: int,
    *,
    threads: int = 1,
) -> list[Int[np.ndarray, " _"]]:
    """Per query the positions of the `count` rows with the largest inner products, in no order.

    Args:
        queries: What is looked for.
        blocks: The rows, in arrays of any length; a position counts through them.
        wanted: Per array, which rows may be found; None: all.
        count: How many; fewer come back only where fewer are wanted.
        threads: Threads that take blocks in turn. The matrix product has threads of its own, so more than one is of
            use only where those are held at one (OMP_NUM_THREADS=1).
    """
    starts = np.concatenate([[0], np.cumsum([len(block) for block in blocks])])
    jobs = [
        (array, low)
        for array in range(len(blocks))
        for low in range(0, len(blocks[array]), BLOCK)
        if wanted[array] is None or wanted[array][low : low + BLOCK].any()  # type: ignore[index]
    ]

    def scan(mine: Sequence[tuple[int, int]], some: Float32[np.ndarray, "queries dim"]) -> Candidates:
        scores = np.full((len(some), count), -np.inf, dtype=np.float32)
        positions = np.full((len(some), count), -1, dtype=np.int64)
        for array, low in mine:
            rows, keep = blocks[array][low : low + BLOCK], wanted[array]
            chosen = None if keep is None else np.flatnonzero(keep[low : low + BLOCK])
            if chosen is not None and len(chosen) == len(rows):
                chosen = None
            found = some @ (rows if chosen is None or len(chosen) > _WHOLE * len(rows) else rows[chosen]).T
            if chosen is not None and found.shape[1] == len(rows):
                found = found[:, chosen]
            origin = int(starts[array]) + low
            _keep_best(scores, positions, found, origin, chosen)
        return scores, positions

    found: list[Int[np.ndarray, " _"]] = []
    for low in range(0, len(queries), _MOST_QUERIES):
        some = queries[low : low + _MOST_QUERIES]
        # Neighbouring blocks go to one thread, which reads them in the order in which they lie on the disk.
        shares = [share.tolist() for share in np.array_split(np.arange(len(jobs)), max(1, min(threads, len(jobs))))]
        parts = _each([partial(scan, [jobs[i] for i in share], some) for share in shares])
        scores = np.concatenate([part[0] for part in parts], axis=1)
        positions = np.concatenate([part[1] for part in parts], axis=1)
        for row in range(len(some)):
            there = np.flatnonzero(positions[row] >= 0)
            if len(there) > count:
                there = there[np.argpartition(scores[row, there], len(there) - count)[-count:]]
            found.append(positions[row, there])
    return found


def _each(scans: Sequence[Callable[[], Candidates]]) -> list[Candidates]:
    if len(scans) == 1:
        return [scans[0]()]
    with ThreadPoolExecutor(len(scans)) as pool:
        return list(pool.map(lambda scan: scan(), scans))


def _keep_best(
    scores: Float32[np.ndarray, "queries kept"],
    positions: Int[np.ndarray, "queries kept"],
    found: Float32[np.ndarray, "queries rows"],
    origin: int,
    chosen: Int[np.ndarray, " rows"] | None,
) -> None:
    """Takes a block's scores into the best so far, in place."""
    count = scores.shape[1]
    worst = scores.min(axis=1)
    for query in np.flatnonzero(found.max(axis=1) > worst):
        better = np.flatnonzero(found[query] > worst[query])
        if len(better) > count:
            better = better[np.argpartition(found[query, better], len(better) - count)[-count:]]
        all_scores = np.concatenate([scores[query], found[query, better]])
        rows = better if chosen is None else chosen[better]
        all_positions = np.concatenate([positions[query], origin + rows])
        top = np.argpartition(all_scores, len(all_scores) - count)[-count:]
        scores[query], positions[query] = all_scores[top], all_positions[top]


def score_again(
    query: Float32[np.ndarray, " dim"], rows: Float32[np.ndarray, "rows dim"]
) -> Float32[np.ndarray, " rows"]:
    """Inner products in float64, each from its own row alone, rounded to float32."""
    found = np.einsum("d,rd->r", query.astype(np.float64), rows.astype(np.float64))
    return np.asarray(found, dtype=np.float32)
