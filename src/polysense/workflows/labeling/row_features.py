"""Frozen features of rows, scaled as linear models and distances need them.

A number that most rows have is standardized; one that is mostly 0 (the count of a word) is only divided, all such by
one number, because standardizing blows rare words up. Far outliers grow by their logarithm, and what a row lacks is the
mean, which says nothing. The scales are learned from all rows, labeled or not, so they do not move as labels come in.
Very many features are projected to the principal axes of some rows, so that distances and fits stay cheap.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float, Int

from polysense.core.random import generator
from polysense.data.features import compressed
from polysense.errors import TableError

__all__ = ["MOST_FEATURES", "RowFeatures"]

MOST_FEATURES = 1024
"""Of a row; more are projected to `_AXES` principal axes."""

_AXES = 512
_AXES_FROM = 4_000  # rows that the axes are learned from
_BLOCK = 4_096  # rows that are scaled at once
_CONSTANT = 1e-6  # of the mean: a deviation below is rounding


class RowFeatures:
    """Scaled features of the rows of a table.

    Args:
        features: [rows, size]; what is not finite counts as missing, and a row may lack all.

    Attributes:
        values: float32 [rows, size after projection], scaled.

    Raises:
        TableError: It is no matrix, or no feature differs between any two rows.
    """

    def __init__(self, features: Float[np.ndarray, "rows size"]) -> None:
        features = np.asarray(features)
        if features.ndim != 2 or not len(features):
            raise TableError(f"features: found an array of {features.shape}, expected [rows, size] with a row at least")
        self._mean, self._factor = _scaling(features)
        self._axes: Float[np.ndarray, "size axes"] | None = None
        if not self._factor.any():
            raise TableError(
                f"features: none of the {features.shape[1]:,} differs between the {len(features):,} rows, so no row "
                "can be told from another; take other columns or another encoder"
            )
        if features.shape[1] > MOST_FEATURES:
            self._axes = _leading_axes(self._scaled(features[_sample(len(features), _AXES_FROM)]))
        self.values = self.transform(features)

    def __len__(self) -> int:
        return len(self.values)

    def transform(self, features: Float[np.ndarray, "rows size"]) -> Float[np.ndarray, "rows scaled"]:
        """Other rows' features on the same scales, float32."""
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != len(self._mean):
            raise TableError(f"features: found an array of {features.shape}, expected [rows, {len(self._mean)}]")
        size = len(self._mean) if self._axes is None else self._axes.shape[1]
        result = np.empty((len(features), size), dtype=np.float32)
        for start in range(0, len(features), _BLOCK):
            block = self._scaled(features[start : start + _BLOCK])
            result[start : start + _BLOCK] = block if self._axes is None else block @ self._axes
        return result

    @functools.cached_property
    def norm(self) -> float:
        """The mean squared norm of a row."""
        return max(float(np.einsum("ri,ri->", self.values, self.values, dtype=np.float64)) / len(self.values), 1e-12)

    @functools.cached_property
    def copies(self) -> Int[np.ndarray, " rows"]:
        """A number for each row that rows with the very same features share."""
        size = self.values.shape[1]
        words = (self.values + 0.0).view(np.uint32)  # there is one zero only
        factors = generator("copies of rows").integers(0, 2**63, size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        keys = np.zeros(len(words), dtype=np.uint64)
        for start in range(0, len(words), _BLOCK):
            block = words[start : start + _BLOCK].astype(np.uint64)
            block ^= block << np.uint64(29)
            keys[start : start + _BLOCK] = (block * factors).sum(axis=1, dtype=np.uint64)
        _, numbers = np.unique(keys, return_inverse=True)
        return numbers.astype(np.int64)

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            values = (features.astype(np.float64) - self._mean) * self._factor
        return compressed(np.where(np.isfinite(values), values, 0.0)).astype(np.float32)


def _sample(num_rows: int, most: int) -> Int[np.ndarray, " rows"]:
    if num_rows <= most:
        return np.arange(num_rows)
    return np.sort(generator("rows of features").choice(num_rows, most, replace=False))


def _scaling(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each feature, and what its difference from it is multiplied by; 0 where it is always the same."""
    size = features.shape[1]
    count, total, zeros = np.zeros(size), np.zeros(size), np.zeros(size)
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(features), _BLOCK)]
    for block in blocks:
        values = features[block].astype(np.float64)
        known = np.isfinite(values)
        count += known.sum(axis=0)
        total += np.where(known, values, 0.0).sum(axis=0)
        zeros += (values == 0).sum(axis=0)
    mean = total / np.maximum(count, 1)
    squares = np.zeros(size)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in blocks:
            values = features[block].astype(np.float64)
            squares += np.where(np.isfinite(values), (values - mean) ** 2, 0.0).sum(axis=0)
    deviation = np.sqrt(squares / np.maximum(count, 1))
    varies = np.isfinite(deviation) & (deviation > np.maximum(_CONSTANT * np.abs(mean), 1e-12))
    sparse = varies & (zeros > 0.5 * count)
    scale = np.where(varies, deviation, 1.0)
    if sparse.sum() >= 32:  # fewer are no counts of words
        entries = max(float((count - zeros)[sparse].sum()) / len(features), 1.0)
        scale[sparse] = np.sqrt((deviation[sparse] ** 2).sum() / entries)
    return mean, np.where(varies, 1.0 / scale, 0.0)


def _leading_axes(scaled: Float[np.ndarray, "rows size"]) -> Float[np.ndarray, "size axes"]:
    """The principal axes with the largest spread, [size, axes]."""
    from sklearn.utils.extmath import randomized_svd

    axes = min(_AXES, *scaled.shape)
    _, _, rows = randomized_svd(scaled, axes, n_iter=2, random_state=0)
    result: np.ndarray = rows.T.astype(np.float32)
    return result
