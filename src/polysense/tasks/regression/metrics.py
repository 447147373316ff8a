"""Metrics of a regression on one or several columns; an unknown (NaN) value is counted out of its own column only.

With several columns each metric is given per column ("mae/height") and as the plain mean over the columns ("mae"). The
mean of MAE or RMSE adds up different units where the columns have them; R2 and the correlation have none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from polysense.core.metric import Metric, Scorer, higher, lower
from polysense.evaluation.metrics.base import ratio
from polysense.tasks.regression.scale import NumberScale

__all__ = ["RegressionScorer", "regression_metrics"]

_NAMES = ("r2", "mae", "rmse", "pearson", "mse_scaled", "coverage")
# A resample's spread below this share of the data's own second moment is rounding, not spread.
_TOLERANCE = 1e-12


def regression_metrics(columns: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of a regression, in the order in which they are reported.

    Args:
        columns: The target's columns, in the predictions' order.
    """
    constant = "the known values are all the same"
    results = []
    for column in (None, *columns) if len(columns) > 1 else (None,):
        suffix = "" if column is None else f"/{column}"
        mean = " Mean over the columns." if column is None and len(columns) > 1 else ""
        results += [
            higher(
                f"r2{suffix}",
                f"Share of the variance that is explained; 0 = as good as the mean.{mean}",
                constant,
                bounds=(-math.inf, 1.0),
            ),
            lower(f"mae{suffix}", f"Mean absolute error, in the table's units.{mean}"),
            lower(f"rmse{suffix}", f"Root of the mean squared error, in the table's units.{mean}"),
            higher(
                f"pearson{suffix}",
                f"Correlation of prediction and value.{mean}",
                f"{constant}, or the predictions are",
                bounds=(-1.0, 1.0),
            ),
            lower(
                f"mse_scaled{suffix}",
                "Mean squared error of the scaled values (transformed, of mean 0 and deviation 1 in training), without "
                f"outliers: what is trained on.{mean}",
                "every known value is an outlier",
            ),
            higher(
                f"coverage{suffix}",
                f"Share of the values inside the predicted intervals; the level that was asked for is right.{mean}",
                "no intervals are predicted",
                is_share=True,
            ),
        ]
    return tuple(results)


class RegressionScorer(Scorer):
    """All metrics of a regression."""

    def __init__(
        self,
        predicted: np.ndarray,
        truth: np.ndarray,
        columns: Sequence[str],
        scales: Sequence[NumberScale] = (),
        intervals: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Prepares what does not depend on the resample.

        Args:
            predicted: float [rows, columns], in the table's units.
            truth: float [rows, columns], NaN = unknown.
            columns: The columns' names.
            scales: What each is scaled by; () = not at all.
            intervals: Their lower and their upper ends, each float [rows, columns]; NaN = none.
        """
        self._columns = tuple(columns)
        self._moments = [
            np.column_stack(
                [
                    _moments(predicted[:, i], truth[:, i], scales[i] if scales else NumberScale()),
                    _covered(truth[:, i], intervals, i),
                ]
            )
            for i in range(len(self._columns))
        ]

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer."""
        per_column = [_scores(weights, moments) for moments in self._moments]
        stacked = np.stack(per_column)
        defined = ~np.isnan(stacked)
        means = ratio(np.where(defined, stacked, 0.0).sum(axis=0), defined.sum(axis=0))
        result = dict(zip(_NAMES, means, strict=True))
        if len(self._columns) > 1:
            for column, scores in zip(self._columns, per_column, strict=True):
                result |= {f"{name}/{column}": row for name, row in zip(_NAMES, scores, strict=True)}
        return result


def _moments(predicted: np.ndarray, truth: np.ndarray, scale: NumberScale) -> np.ndarray:
    """Per row: known, |error|, error^2, y, y^2, p, p^2, y p, plausible, scaled error^2; float64 [rows, 10], zeros where
    unknown."""
    known = ~np.isnan(truth)
    # Infinity as NaN: it makes every sum NaN, the right answer, without inf - inf on the way.
    predicted = np.where(np.isfinite(predicted), predicted.astype(np.float64), np.nan)
    error = np.where(known, predicted - truth, 0.0)
    y, p = _centered(truth, known), _centered(predicted, known)
    plausible = known & scale.is_plausible(np.where(known, truth, np.nan))
    scaled = scale.standardized(np.where(plausible, predicted, 0.0)) - scale.standardized(
        np.where(plausible, truth, 0.0)
    )
    return np.column_stack([
        known, np.abs(error), error**2, y, y**2, p, p**2, y * p, plausible, np.where(plausible, scaled, 0.0) ** 2,
    ])  # fmt: skip


def _covered(truth: np.ndarray, intervals: tuple[np.ndarray, np.ndarray] | None, column: int) -> np.ndarray:
    """Per row: has a value and an interval, and it lies inside; float64 [rows, 2]."""
    if intervals is None:
        return np.zeros((len(truth), 2))
    low, high = (ends[:, column] for ends in intervals)
    counted = ~np.isnan(truth) & ~np.isnan(low) & ~np.isnan(high)
    return np.column_stack([counted, counted & (truth >= low) & (truth <= high)]).astype(np.float64)


def _centered(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values less their mean, so that sums of squares do not cancel; exactly 0 where all are the same."""
    inside = values[known].astype(np.float64)
    if not len(inside) or inside.min() == inside.max():
        return np.zeros(len(values))
    return np.where(known, values - inside.mean(), 0.0)


def _scores(weights: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """R2, MAE, RMSE, the correlation, the scaled error and the coverage, [6, resamples]."""
    # A NaN prediction is let through to every sum; numpy would warn of it.
    with np.errstate(invalid="ignore"):
        num, absolute, squared, y, yy, p, pp, yp, plausible, scaled, counted, covered = (weights @ moments).T
        spread_y, spread_p = (_spread(yy, y, num, moments[:, 4]), _spread(pp, p, num, moments[:, 6]))
        r2 = 1.0 - ratio(squared, spread_y)
        covariance = yp - ratio(y * p, num)
        pearson = np.clip(ratio(covariance, np.sqrt(spread_y * spread_p)), -1.0, 1.0)
        return np.stack(
            [
                r2,
                ratio(absolute, num),
                np.sqrt(ratio(squared, num)),
                pearson,
                ratio(scaled, plausible),
                ratio(covered, counted),
            ]
        )


def _spread(squares: np.ndarray, sums: np.ndarray, num: np.ndarray, per_row: np.ndarray) -> np.ndarray:
    """Sum of squared deviations from each resample's own mean; exactly 0 where that is rounding."""
    spread = squares - ratio(sums**2, num)
    return np.where(spread <= _TOLERANCE * per_row.sum(), 0.0, spread)
