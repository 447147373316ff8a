"""Exact search in memory: a matrix product in blocks, and the best of each.

A block of 16,384 rows times 64 queries is 4 MiB of scores, which stays in a core's cache until the best are taken out.
What the product finds is scored again, in float64: a product's last bits depend on the block's shape, and a row's score
should depend on the row and the query alone.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int

from polysense.search.table import ROW_ID, Rows

__all__ = ["MARGIN", "best_rows", "nearest_rows"]

MARGIN = 16
"""How many more than k are retained until they are scored again, for scores that differ in their last bits only."""

_BLOCK = 16_384
_QUERIES_AT_ONCE = 256


def nearest_rows(
    queries: Float32[np.ndarray, "queries dim"],
    vectors: Float32[np.ndarray, "rows dim"],
    allowed: Bool[np.ndarray, " rows"] | None,
    count: int,
) -> list[Int[np.ndarray, " _"]]:
    """The rows with the largest inner products with each query, in no order.

    Args:
        queries: What is searched for.
        vectors: The rows.
        allowed: Rows that may be returned; None: all.
        count: How many; fewer are returned only where fewer are allowed.
    """
    rows = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
    nearest: list[Int[np.ndarray, " _"]] = []
    for low in range(0, len(queries), _QUERIES_AT_ONCE):
        some = queries[low : low + _QUERIES_AT_ONCE]
        scores, positions = [np.zeros((len(some), 0), np.float32)], [np.zeros((len(some), 0), np.int64)]
        for first in range(0, len(rows), _BLOCK):
            block = rows[first : first + _BLOCK]
            # A slice is no copy; chosen rows are copied, at about the price of multiplying them.
            products = some @ (vectors[first : first + _BLOCK] if allowed is None else vectors[block]).T
            top = _top(products, count)
            scores.append(np.take_along_axis(products, top, axis=1))
            positions.append(block[top])
        top = _top(np.concatenate(scores, axis=1), count)
        nearest.extend(np.take_along_axis(np.concatenate(positions, axis=1), top, axis=1))
    return nearest


def _top(scores: Float32[np.ndarray, "queries rows"], count: int) -> Int[np.ndarray, "queries top"]:
    if scores.shape[1] <= count:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(scores, -count, axis=1)[:, -count:]


def best_rows(query: Float32[np.ndarray, " dim"], candidates: Rows, k: int) -> pl.DataFrame:
    """The k best of some rows with their scores, equal scores by row id.

    Scores are inner products in float64, each from its own row alone, rounded to float32.
    """
    products = np.einsum("d,rd->r", query.astype(np.float64), candidates.vectors.astype(np.float64))
    scored = candidates.cells.with_columns(score=products.astype(np.float32))
    return scored.sort("score", ROW_ID, descending=[True, False]).head(k)
