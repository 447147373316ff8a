"""All pairs of rows above a cosine similarity: exact, in blocks, each pair once.

It is n^2 / 2 products: a hundred times the work for ten times the rows. What the product in float32 says is near the
threshold is decided in float64.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64

from polysense.errors import SearchError

__all__ = ["pairs_of_rows"]

_BLOCK = 4096
# More than what a float32 product of unit vectors errs by.
_SLACK = 1e-4


def pairs_of_rows(
    vectors: Float32[np.ndarray, "rows dim"], ids: pl.Series, threshold: float, *, limit: int
) -> pl.DataFrame:
    """Pairs of rows by their ids.

    Args:
        vectors: None of them zero.
        ids: The rows'.
        threshold: The smallest cosine that counts.
        limit: Of pairs.

    Returns:
        Columns `first`, `second` (row ids, the smaller first) and `score`, the most similar first.

    Raises:
        SearchError: The threshold is no cosine, or there are more pairs than the limit.
    """
    if not -1 <= threshold <= 1:
        raise SearchError(f"the threshold is a cosine, from -1 to 1; found {threshold}")
    pairs: list[pl.DataFrame] = []
    for origin in range(0, len(vectors), _BLOCK):
        left = _unit(vectors[origin : origin + _BLOCK])
        for other_origin in range(origin, len(vectors), _BLOCK):
            right = _unit(vectors[other_origin : other_origin + _BLOCK])
            near = left.astype(np.float32) @ right.astype(np.float32).T >= threshold - _SLACK
            if other_origin == origin:
                near &= ~np.tri(len(left), dtype=bool)  # each pair once, and no row with itself
            first, second = np.nonzero(near)
            for low in range(0, len(first), _BLOCK):
                one, two = first[low : low + _BLOCK], second[low : low + _BLOCK]
                cosine = np.einsum("pd,pd->p", left[one], right[two])
                rows = pl.DataFrame({"first": origin + one, "second": other_origin + two, "score": cosine})
                pairs.append(rows.filter(cosine >= threshold))
                if sum(map(len, pairs)) > limit:
                    raise SearchError(
                        f"there are more than {limit:,} pairs at or above a similarity of {threshold}; "
                        "raise the threshold, or the limit"
                    )
    if not pairs:
        return pl.DataFrame(schema={"first": ids.dtype, "second": ids.dtype, "score": pl.Float64})
    every = pl.concat(pairs)
    left_ids, right_ids = ids.gather(every["first"]), ids.gather(every["second"])
    smaller_first = left_ids < right_ids
    ordered = pl.DataFrame(
        {
            "first": left_ids.zip_with(smaller_first, right_ids),
            "second": right_ids.zip_with(smaller_first, left_ids),
            "score": every["score"].clip(-1.0, 1.0),
        }
    )
    return ordered.sort("score", "first", "second", descending=[True, False, False])


def _unit(block: Float32[np.ndarray, "rows dim"]) -> Float64[np.ndarray, "rows dim"]:
    wide = block.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide
