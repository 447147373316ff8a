"""The weighted sums that metrics are made of: ratios, groups of rows, rankings of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from polysense.core.metric import Scorer

__all__ = ["MAX_RANKED", "Grouping", "MeanScorer", "Rankings", "chunks", "ratio"]

MAX_RANKED = 2**21
"""Most scores (rows x classes) whose ranking is bootstrapped: about 10 s for 1,000 resamples on one slow core."""


_CHUNK = 2**22  # similarities in memory at once, 16 MB in float32


def chunks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Rows whose products with all columns fit into memory."""
    step = max(1, _CHUNK // max(num_columns, 1))
    for start in range(0, num_rows, step):
        yield slice(start, start + step)


def ratio(numerator: np.ndarray, denominator: np.ndarray, default: float = np.nan) -> np.ndarray:
    """numerator / denominator, `default` where the denominator is 0; shapes broadcast."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), default)
    np.divide(numerator, denominator, out=result, where=np.broadcast_to(denominator != 0, result.shape))
    return result


class MeanScorer(Scorer):
    """Metrics that are means over rows."""

    def __init__(self, values: Mapping[str, np.ndarray]) -> None:
        """Takes the rows' values.

        Args:
            values: Per metric float [rows], of the rows that have the target.
        """
        self._values = {name: array.astype(np.float64) for name, array in values.items()}

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """See `Scorer`."""
        num = weights.sum(axis=1)
        return {name: ratio(weights @ array, num) for name, array in self._values.items()}


class Grouping:
    """Sums of weights over groups of rows.

    Sorting once and `np.add.reduceat` costs resamples x rows whatever the number of groups, where a product with
    one-hot columns costs that times the groups.
    """

    def __init__(self, groups: np.ndarray, num_groups: int, rows: np.ndarray | None = None) -> None:
        """Sorts the rows by group.

        Args:
            groups: int [rows], each in [0, num_groups).
            num_groups: Groups in the result, empty ones included.
            rows: Row numbers to count; all of them by default.
        """
        rows = np.arange(len(groups)) if rows is None else rows
        order = np.argsort(groups[rows], kind="stable")
        self._order = rows[order]
        self._groups, self._starts = np.unique(groups[self._order], return_index=True)
        self._num_groups = num_groups

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """[resamples, rows] -> [resamples, groups]."""
        sums = np.zeros((len(weights), self._num_groups))
        if len(self._order):
            sums[:, self._groups] = np.add.reduceat(np.take(weights, self._order, axis=1), self._starts, axis=1)
        return sums


class Ranking:
    """AUROC and average precision of one column of scores.

    The order of the scores does not depend on the resample, so it is found once. With the weight below a positive row
    i's tie group lo_i and up to its end hi_i, P the positives' weight and T all of it,

        AUROC = (sum_i w_i (lo_i + hi_i) / 2 - P^2 / 2) / (P (T - P))

    which is the Mann-Whitney statistic with ties counted half: the positives' own share of the sum is exactly P^2 / 2.
    Average precision is sum_i w_i precision(threshold_i) / P, the step-wise area, without interpolation. Only the
    weight between the positives' positions is summed, so a rare class costs little more than reading the weights.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray) -> None:
        """Sorts the scores.

        Args:
            scores: float [rows], finite.
            positive: bool [rows].
        """
        num_rows = len(scores)
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[:num_rows])
        positions = np.flatnonzero(positive[order])
        group = np.searchsorted(first, positions, side="right") - 1
        start, end = first[group], np.append(first, num_rows)[group + 1]
        cuts = np.unique(np.concatenate([np.zeros(1, dtype=np.int64), start, end]))
        # int32 halves what a table of many classes keeps: its order is stored once per class.
        self._order = order.astype(np.int32)
        self._positives = order[positions].astype(np.int32)
        self._cuts = cuts[cuts < num_rows]
        self._start = np.searchsorted(self._cuts, start)
        self._end = np.searchsorted(self._cuts, end)
        self._first_positive = np.searchsorted(positions, start)

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUROC and average precision.

        Args:
            weights: float64 [resamples, rows].

        Returns:
            Two float64 [resamples]. AUROC is NaN without a positive or without a negative row, average precision is
            NaN without a positive one.
        """
        own = np.take(weights, self._positives, axis=1)
        positive = own.sum(axis=1)
        if not len(self._positives):
            return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
        below = _exclusive(np.add.reduceat(np.take(weights, self._order, axis=1), self._cuts, axis=1))
        total = below[:, -1]
        low, high = below[:, self._start], below[:, self._end]
        auroc = ratio((own * (low + high)).sum(axis=1) / 2 - positive**2 / 2, positive * (total - positive))
        positive_above = positive[:, None] - _exclusive(own)[:, self._first_positive]
        precision = ratio(positive_above, total[:, None] - low, 0.0)
        return auroc, ratio((own * precision).sum(axis=1), positive)


def _exclusive(values: np.ndarray) -> np.ndarray:
    """Sums of what comes before each column, and of all: [resamples, n] -> [resamples, n + 1]."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)


class Rankings:
    """The means of AUROC and average precision over columns of scores.

    A column where one is undefined is left out of that one's mean, resample by resample.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray) -> None:
        """Sorts the columns; at first use, if they are too many to keep all the orders.

        Args:
            scores: float [rows, columns], finite.
            positive: bool [rows, columns].
        """
        self._scores, self._positive = scores, positive
        self._retained = [self._build(i) for i in range(scores.shape[1])] if scores.size <= MAX_RANKED else []

    def _build(self, column: int) -> Ranking:
        return Ranking(self._scores[:, column], self._positive[:, column])

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean AUROC and mean average precision, each float64 [resamples]; NaN where no column has a value."""
        sums, counts = np.zeros((2, len(weights))), np.zeros((2, len(weights)))
        for column in range(self._scores.shape[1]):
            ranking = self._retained[column] if self._retained else self._build(column)
            for kind, values in enumerate(ranking(weights)):
                defined = ~np.isnan(values)
                sums[kind] += np.where(defined, values, 0.0)
                counts[kind] += defined
        auroc, average_precision = ratio(sums, counts)
        return auroc, average_precision
