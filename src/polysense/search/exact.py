"""Exact search in memory: a matrix product in blocks, and the best of each.

A block of 16,384 rows times 64 queries is 4 MiB of scores, which stays in a core's cache until the best are taken out.
What the product finds is scored again, in float64: a product's last bits depend on the block's shape, and a row's score
should depend on the row and the query alone. Pairs of rows are n^2 / 2 products: a hundred times the work for ten
times the rows; what is near the threshold is decided in float64.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int

from polysense.errors import SearchError
from polysense.search.table import ROW_ID, Rows

__all__ = ["MARGIN", "best_rows", "nearest_rows", "pairs_of_rows"]

MARGIN = 16
"""How many more than k are retained until they are scored again, for scores that differ in their last bits only."""

_BLOCK = 16_384
_QUERIES_AT_ONCE = 256
_PAIR_BLOCK = 4096
# More than what a float32 product of unit vectors errs by.
_SLACK = 1e-4


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


def pairs_of_rows(
    vectors: Float32[np.ndarray, "rows dim"], ids: pl.Series, threshold: float, *, limit: int
) -> pl.DataFrame:
    """At most `limit` pairs of rows, by their ids, whose vectors (none of them zero) have at least some cosine.

    Returns:
        Columns `first`, `second` (row ids, the smaller first) and `score`, the most similar first.

    Raises:
        SearchError: The threshold is no cosine, or there are more pairs than the limit.
    """
    if not -1 <= threshold <= 1:
        raise SearchError(f"the threshold is a cosine, from -1 to 1; found {threshold}")
    pairs = [pl.DataFrame(schema={"first": pl.Int64, "second": pl.Int64, "score": pl.Float64})]
    for origin in range(0, len(vectors), _PAIR_BLOCK):
        left = _unit(vectors[origin : origin + _PAIR_BLOCK])
        for other_origin in range(origin, len(vectors), _PAIR_BLOCK):
            right = _unit(vectors[other_origin : other_origin + _PAIR_BLOCK])
            near = left.astype(np.float32) @ right.astype(np.float32).T >= threshold - _SLACK
            if other_origin == origin:
                near &= ~np.tri(len(left), dtype=bool)  # each pair once, and no row with itself
            first, second = np.nonzero(near)
            for low in range(0, len(first), _PAIR_BLOCK):
                one, two = first[low : low + _PAIR_BLOCK], second[low : low + _PAIR_BLOCK]
                cosine = np.einsum("pd,pd->p", left[one], right[two])
                rows = pl.DataFrame({"first": origin + one, "second": other_origin + two, "score": cosine})
                pairs.append(rows.filter(cosine >= threshold))
                if sum(map(len, pairs)) > limit:
                    raise SearchError(
                        f"there are more than {limit:,} pairs at or above a similarity of {threshold}; "
                        "raise the threshold, or the limit"
                    )
    every = pl.concat(pairs)
    named = every.with_columns(ids.gather(every[name]).alias(name) for name in ("first", "second"))
    smaller, larger = pl.min_horizontal("first", "second"), pl.max_horizontal("first", "second")
    ordered = named.select(first=smaller, second=larger, score=pl.col("score").clip(-1.0, 1.0))
    return ordered.sort("score", "first", "second", descending=[True, False, False])


def _unit(block: Float32[np.ndarray, "rows dim"]) -> Float64[np.ndarray, "rows dim"]:
    wide = block.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide
