"""VariantScores: a model's score under several changes of the same rows, and in every resample of them.

All variants are resampled together, so any difference between them is paired: what makes a row hard for all of them
drops out. A variant may be a subset of the columns, a rate of missing cells, a corruption.

A change that alters no row's value has the same mean in every resample, which would look like certainty. Of a share no
interval is therefore narrower than what so many rows can tell: that none of them changed allows for the share of rows
at which that would come about in one of 40 samples (Clopper and Pearson, 1934; 3.7 of 100 rows). Only where no measure
of any row moved, not even its log loss, has the model been seen not to look at what was changed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from polysense.core.task_spec import Measure
from polysense.evaluation.bootstrap import Interval, at_least_as_wide, interval, multiplicities, simultaneous

__all__ = ["VariantScores"]

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, eq=False)
class VariantScores(Generic[K]):
    """v of every variant, over all rows and in every resample.

    Attributes:
        measures: What v is measured by, the score first; higher is better.
        index: Of the variants.
        means: float64 [measures, variants]; NaN where there are no rows.
        resampled: float64 [resamples, measures, variants].
        num_units: Rows, or groups of them, that resamples are drawn from.
    """

    measures: Sequence[Measure]
    index: Mapping[K, int]
    means: np.ndarray
    resampled: np.ndarray
    num_units: int

    @staticmethod
    def of_rows(
        measures: Sequence[Measure],
        variants: Sequence[K],
        measured: np.ndarray,
        bootstrap: int,
        seed: int,
        clusters: np.ndarray | None = None,
    ) -> VariantScores[K]:
        """The scores of rows that were measured.

        Args:
            measures: What v is measured by.
            variants: In the order of `measured`.
            measured: float64 [measures, rows, variants], see `core.task_spec.Contribution.measured`.
            bootstrap: Resamples; 0 gives values only.
            seed: Of the resamples.
            clusters: int64 [rows], the group of each row, by which resamples are drawn; None: rows are on their own.
        """
        num_rows = measured.shape[1]
        means = np.full((len(measures), len(variants)), np.nan)
        drawn = [np.zeros((0, len(measures), len(variants)))]
        if num_rows:
            means = measured.mean(axis=1)
            for weights in multiplicities(num_rows, bootstrap, seed, clusters=clusters):
                shares = weights / weights.sum(axis=1, keepdims=True)
                drawn.append(np.stack([shares @ each for each in measured], axis=1))
        index = {variant: i for i, variant in enumerate(variants)}
        num_units = num_rows if clusters is None else len(np.unique(clusters))
        return VariantScores(measures, index, means, np.concatenate(drawn), num_units)

    def unit(self, variant: K) -> np.ndarray:
        """The combination that is v of one variant; float64 [variants]."""
        combination = np.zeros(len(self.index))
        combination[self.index[variant]] = 1.0
        return combination

    def of(self, combination: np.ndarray, confidence: float) -> dict[str, Interval]:
        """By measure a combination of variants' values, with its own interval."""
        means, resampled = self.means @ combination, self.resampled @ combination
        intervals = [interval(float(means[i]), resampled[:, i], confidence) for i in range(len(self.measures))]
        return dict(zip(self.measures, self._widened(intervals, combination, confidence), strict=True))

    def together(self, combinations: Sequence[np.ndarray], confidence: float) -> list[dict[str, Interval]]:
        """By measure several combinations, with intervals that hold all at once, over measures as well."""
        every = np.array(combinations).reshape(-1, len(self.index)).T
        means, resampled = self.means @ every, self.resampled @ every
        flat = simultaneous(means.ravel(), resampled.reshape(len(resampled), means.size), confidence)
        by_measure = [flat[i * every.shape[1] : (i + 1) * every.shape[1]] for i in range(len(self.measures))]
        return [
            dict(
                zip(self.measures, self._widened([own[k] for own in by_measure], combination, confidence), strict=True)
            )
            for k, combination in enumerate(every.T)
        ]

    def first_together(self, combinations: Sequence[np.ndarray], confidence: float) -> list[Interval]:
        """As `together`, of the first measure alone, which is then corrected for no other."""
        every = np.array(combinations).reshape(-1, len(self.index)).T
        flat = simultaneous(self.means[0] @ every, self.resampled[:, 0, :] @ every, confidence)
        return [
            self._widened([each], combination, confidence)[0] for each, combination in zip(flat, every.T, strict=True)
        ]

    def _widened(self, intervals: Sequence[Interval], combination: np.ndarray, confidence: float) -> list[Interval]:
        """Of the first measures, those of shares at least as wide as if no row had changed; a score ends at 0 and 1."""
        if not self.num_units or not combination.any():
            return list(intervals)
        if len(self.measures) > 1 and not (self.means @ combination).any() and not (self.resampled @ combination).any():
            return list(intervals)
        lowest, highest = (0.0, 1.0) if math.isclose(combination.sum(), 1.0) else (-math.inf, math.inf)
        results = []
        for own, measure in zip(intervals, self.measures, strict=False):
            if measure.is_share and own.has_bounds:
                wide = at_least_as_wide(own, self.num_units, confidence)
                own = Interval(own.value, max(lowest, wide.low), min(highest, wide.high))
            results.append(own)
        return results
