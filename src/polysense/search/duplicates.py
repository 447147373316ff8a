"""All pairs of rows above a cosine similarity: exact, in blocks, each pair once.

It is n^2 / 2 products: a hundred times the work for ten times the rows. What the product in float32 says is near the
threshold is decided in float64.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int

from polysense.errors import SearchError

__all__ = ["near_pairs", "pairs_of_rows"]

_BLOCK = 4096
# More than what a float32 product of unit vectors errs by.
_SLACK = 1e-4


def pairs_of_rows(
    vectors: list[Float32[np.ndarray, "_ dim"]], ids: pl.Series, threshold: float, *, limit: int
) -> pl.DataFrame:
    """Pairs of rows by their ids.

    Args:
        vectors: Arrays of rows, none of them zero.
        ids: Of all rows.
        threshold: The smallest cosine that counts.
        limit: Of pairs.

    Returns:
        Columns `first`, `second` (row ids, the smaller first) and `score`, the most similar first.

    Raises:
        SearchError: The threshold is no cosine, or there are more pairs than the limit.
    """
    if not -1 <= threshold <= 1:
        raise SearchError(f"the threshold is a cosine, from -1 to 1; found {threshold}")
    first, second, cosine = near_pairs(vectors, threshold, limit=limit)
    one, other = ids.gather(first), ids.gather(second)
    swapped = one > other
    frame = pl.DataFrame(
        {
            "first": other.zip_with(swapped, one),
            "second": one.zip_with(swapped, other),
            "score": np.clip(cosine, -1.0, 1.0),
        }
    )
    return frame.sort("score", "first", "second", descending=[True, False, False])


def near_pairs(
    vectors: list[Float32[np.ndarray, "_ dim"]], threshold: float, *, limit: int
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Float64[np.ndarray, " pairs"]]:
    """Pairs of rows (first < second), and their cosines.

    Args:
        vectors: Arrays of rows, none of them zero; a position counts through all.
        threshold: The smallest cosine that counts.
        limit: Of pairs.

    Raises:
        SearchError: There are more pairs than the limit.
    """
    starts = np.cumsum([0, *(len(array) for array in vectors)])
    blocks = [
        (int(start + low), array[low : low + _BLOCK])
        for start, array in zip(starts, vectors, strict=False)
        for low in range(0, len(array), _BLOCK)
    ]
    firsts, seconds, cosines, total = [], [], [], 0
    for index, (origin, block) in enumerate(blocks):
        left = _unit(block)
        for other, (other_origin, other_block) in enumerate(blocks[index:], start=index):
            right = left if other == index else _unit(other_block)
            near = left.astype(np.float32) @ right.astype(np.float32).T >= threshold - _SLACK
            if other == index:
                near &= ~np.tri(len(left), dtype=bool)  # each pair once, and no row with itself
            first, second = np.nonzero(near)
            for low in range(0, len(first), _BLOCK):
                some = slice(low, low + _BLOCK)
                cosine = np.einsum("pd,pd->p", left[first[some]], right[second[some]])
                keep = cosine >= threshold
                firsts.append(origin + first[some][keep])
                seconds.append(other_origin + second[some][keep])
                cosines.append(cosine[keep])
                total += int(keep.sum())
                if total > limit:
                    raise SearchError(
                        f"there are more than {limit:,} pairs at or above a similarity of {threshold}; "
                        "raise the threshold, or the limit"
                    )
    if not firsts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(cosines)


def _unit(block: Float32[np.ndarray, "rows dim"]) -> Float64[np.ndarray, "rows dim"]:
    wide = block.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide
