"""Intervals by the percentile bootstrap over rows, or over groups of rows; shares of rows have exact ones.

A resample is kept as how often each row was drawn, not as a list of rows, so a metric is a weighted sum (see
`metrics`). The resamples come in parts of about 2 MB, so memory does not grow with their number; where the parts are
cut does not change a draw. The interval says how much the value depends on which rows were tested. It does not cover
what another training seed would have changed. Rows of one group (a speaker, a patient) are alike: where clusters are
given, whole groups are drawn, and the interval says how much the value depends on which groups were tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from polysense.core.binomial import binomial_interval
from polysense.core.json import json_object
from polysense.core.metric import Metric
from polysense.core.random import generator

__all__ = [
    "Interval",
    "at_least_as_wide",
    "difference_interval",
    "groups_to_resample",
    "interval",
    "mean_over_rows",
    "metric_interval",
    "multiplicities",
    "simultaneous",
]

# Weights in one part, 2 MB in float64: the sorted copy and the sums of a ranking then stay in a core's cache.
_PART = 2**18


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and how sure it is; NaN where there is none (null in JSON)."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def as_json(self) -> dict[str, float | None]:
        """{"value", "low", "high"} with None for what is undefined."""
        return json_object(self)

    @property
    def has_bounds(self) -> bool:
        """Whether there is an interval and not only a value."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def groups_to_resample(clusters: np.ndarray | None) -> np.ndarray | None:
    """The groups that resamples are drawn by; None where rows are on their own, or all of one group.

    Rows of one group are drawn one by one: that says how sure a score of this group is, and nothing of other groups,
    which whoever shows the interval has to say.
    """
    return None if clusters is None or len(np.unique(clusters)) < 2 else clusters


def multiplicities(
    num_rows: int, num_resamples: int, seed: int, *, clusters: np.ndarray | None = None, part: int = _PART
) -> Iterator[np.ndarray]:
    """Draws resamples: as many rows as there are, with replacement.

    Args:
        num_rows: Rows to draw from.
        num_resamples: Resamples in all.
        seed: The draws are a pure function of (seed, rows, resamples).
        clusters: int64 [rows], the group of each row: then as many groups as there are are drawn, all rows of one
            together, and a resample may have more or fewer rows. None: each row is on its own. Of a single group there
            is no resample: it is the same whichever is drawn, which would look like certainty.
        part: Most weights in one array.

    Yields:
        float64 [resamples of this part, rows]: how often each row was drawn.
    """
    if not num_rows:
        return
    if clusters is not None:
        names, members = np.unique(clusters, return_inverse=True)
        if len(names) < 2:
            return
        for drawn in multiplicities(len(names), num_resamples, seed, part=max(1, part * len(names) // num_rows)):
            yield drawn[:, members]
        return
    draws = generator(seed, "bootstrap")
    step = max(1, part // num_rows)
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        drawn = draws.integers(0, num_rows, size=(size, num_rows))
        drawn += np.arange(size)[:, None] * num_rows
        yield np.bincount(drawn.ravel(), minlength=size * num_rows).reshape(size, num_rows).astype(np.float64)


def interval(value: float, resampled: np.ndarray, confidence: float) -> Interval:
    """The percentile interval around a value.

    Resamples in which the metric is undefined are left out; where that is half of them or more there are no bounds. The
    bounds are widened to hold the value itself: the bootstrap's bias (a calibration error is always larger in a
    resample) must not look like evidence against what was measured.

    Args:
        value: Over all rows.
        resampled: float64 [resamples], NaN where undefined.
        confidence: In (0, 1), for example 0.95.
    """
    defined = resampled[np.isfinite(resampled)]
    if not math.isfinite(value) or 2 * len(defined) <= len(resampled):
        return Interval(value)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value))


def metric_interval(
    metric: Metric, value: float, resampled: np.ndarray, confidence: float, num_rows: int, clusters: np.ndarray | None
) -> Interval:
    """The interval of a metric, which stays honest where the bootstrap sees too little.

    A share of rows that are on their own has the exact interval of Clopper and Pearson. Of any other metric that no
    resample moves from its best or worst value, no row is known that would: it ends where a share would, of as many
    rows, or groups, all of which are right.

    Args:
        metric: Which one.
        value: Over all rows.
        resampled: float64 [resamples], NaN where undefined.
        confidence: In (0, 1).
        num_rows: That were scored.
        clusters: int64 [rows], their groups; None: rows are on their own.
    """
    own = interval(value, resampled, confidence)
    lowest, highest = metric.bounds
    if not own.has_bounds or not math.isfinite(highest - lowest):
        return own
    hits = round(value * num_rows)
    if metric.is_share and clusters is None and math.isclose(hits, value * num_rows, abs_tol=1e-6):
        return Interval(value, *binomial_interval(hits, num_rows, confidence))
    if own.low < own.high or value not in (lowest, highest):
        return own
    num_units = num_rows if clusters is None else len(np.unique(clusters))
    reach = (highest - lowest) * binomial_interval(0, num_units, confidence)[1]
    return Interval(value, highest - reach, value) if value == highest else Interval(value, value, lowest + reach)


def difference_interval(
    metric: Metric, value: float, resampled: np.ndarray, confidence: float, num_rows: int, clusters: np.ndarray | None,
    *, same: bool,
) -> Interval:  # fmt: skip
    """The paired interval of one model's metric less another's, which stays honest where the bootstrap sees too little.

    Two models that are right on the same rows differ by 0 in every resample, which would look like certainty. The
    interval of a share is never narrower than what so many rows can tell (see `at_least_as_wide`), nor that of another
    bounded metric whose difference no resample moves. Only of one and the same model 0 is certain.

    Args:
        metric: Which one.
        value: The difference over all rows.
        resampled: float64 [resamples], NaN where undefined.
        confidence: In (0, 1).
        num_rows: That were scored.
        clusters: int64 [rows], their groups; None: rows are on their own.
        same: Whether the two are one model.
    """
    own = interval(value, resampled, confidence)
    lowest, highest = metric.bounds
    if same or not own.has_bounds or not math.isfinite(highest - lowest):
        return own
    if not metric.is_share and own.low < own.high:
        return own
    return at_least_as_wide(
        own, num_rows if clusters is None else len(np.unique(clusters)), confidence, extent=highest - lowest
    )


def at_least_as_wide(own: Interval, num_units: int, confidence: float, *, extent: float = 1.0) -> Interval:
    """An interval widened to what so many units can tell of a change that was seen in none of them.

    That none changed allows for the share of units at which that would come about in one of 40 samples (at 95%; Clopper
    and Pearson, 1934; 3.7 of 100).

    Args:
        own: With bounds.
        num_units: Rows, or groups of them that resamples are drawn by; at least 1.
        confidence: In (0, 1).
        extent: By how much one unit can change the measure, between its lowest and its highest value.
    """
    reach = extent * binomial_interval(0, num_units, confidence)[1]
    return Interval(own.value, min(own.low, own.value - reach), max(own.high, own.value + reach))


def simultaneous(values: np.ndarray, resampled: np.ndarray, confidence: float) -> list[Interval]:
    """Intervals that hold all at once: the chance that any of them misses is at most 1 - confidence.

    Each is as many standard errors wide as the largest deviation of a resample reaches, so what is correlated is
    corrected for less (the single-step max-t of Westfall and Young, "Resampling-Based Multiple Testing", 1993, section
    2.5). What no resample moves has an interval of no width.

    Args:
        values: float64 [quantities], over all rows.
        resampled: float64 [resamples, quantities].
        confidence: In (0, 1).
    """
    defined = np.isfinite(values) & (2 * np.isfinite(resampled).sum(axis=0) > len(resampled))
    # A quantity that is undefined in a resample does not deviate in it.
    deviations = np.where(np.isfinite(resampled[:, defined]), resampled[:, defined] - values[defined], 0.0)
    errors = np.sqrt((deviations**2).mean(axis=0)) if len(resampled) else np.zeros(0)
    moving = errors > 0
    widest = np.abs(deviations[:, moving] / errors[moving]).max(axis=1) if moving.any() else np.zeros(1)
    reach = dict(zip(np.flatnonzero(defined), errors * np.quantile(widest, confidence), strict=True))
    return [
        Interval(float(value), float(value - reach[i]), float(value + reach[i]))
        if i in reach
        else Interval(float(value))
        for i, value in enumerate(values)
    ]


def mean_over_rows(values: np.ndarray, num_resamples: int, seed: int, confidence: float = 0.95) -> Interval:
    """A mean over rows, and its interval over which rows they are.

    Args:
        values: float64 [rows].
        num_resamples: Of the bootstrap.
        seed: Of the resamples.
        confidence: Of the interval.
    """
    resampled = [weights @ values / len(values) for weights in multiplicities(len(values), num_resamples, seed)]
    return interval(float(values.mean()), np.concatenate([np.zeros(0), *resampled]), confidence)
