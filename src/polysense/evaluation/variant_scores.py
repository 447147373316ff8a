"""VariantScores: a model's score under several changes of the same rows, and in every resample of them.

All variants are resampled together, so any difference between them is paired: what makes a row hard for all of them
drops out. A variant may be a subset of the columns, a rate of missing cells, a corruption.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from polysense.core.task_spec import Measure
from polysense.evaluation.bootstrap import Interval, interval, multiplicities, simultaneous

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
    """

    measures: Sequence[Measure]
    index: Mapping[K, int]
    means: np.ndarray
    resampled: np.ndarray

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
        return VariantScores(measures, index, means, np.concatenate(drawn))

    def unit(self, variant: K) -> np.ndarray:
        """The combination that is v of one variant; float64 [variants]."""
        combination = np.zeros(len(self.index))
        combination[self.index[variant]] = 1.0
        return combination

    def of(self, combination: np.ndarray, confidence: float) -> dict[str, Interval]:
        """By measure a combination of variants' values, with its own interval."""
        means, resampled = self.means @ combination, self.resampled @ combination
        return {each: interval(float(means[i]), resampled[:, i], confidence) for i, each in enumerate(self.measures)}

    def together(self, combinations: Sequence[np.ndarray], confidence: float) -> list[dict[str, Interval]]:
        """By measure several combinations, with intervals that hold all at once, over measures as well."""
        every = np.array(combinations).reshape(-1, len(self.index)).T
        means, resampled = self.means @ every, self.resampled @ every
        flat = simultaneous(means.ravel(), resampled.reshape(len(resampled), means.size), confidence)
        by_measure = [flat[i * every.shape[1] : (i + 1) * every.shape[1]] for i in range(len(self.measures))]
        return [{measure: by_measure[i][k] for i, measure in enumerate(self.measures)} for k in range(every.shape[1])]
