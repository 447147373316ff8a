"""Student's t distribution for a whole number of degrees of freedom, and Holm's correction.

For whole degrees of freedom the distribution is a finite sum (Abramowitz and Stegun, "Handbook of Mathematical
Functions", 26.7.3 and 26.7.4), so no library is imported for it. With five seeds, four degrees of freedom, the 95%
interval is 2.78 standard errors wide on each side where a normal distribution would claim 1.96.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from polysense.evaluation.bootstrap import Interval

__all__ = ["holm", "mean_interval", "t_coverage", "t_quantile", "t_test"]


def t_coverage(t: float, freedom: int) -> float:
    """The probability that |T| is at most t.

    Args:
        t: At least 0.
        freedom: Degrees of freedom, at least 1.
    """
    if math.isinf(t):
        return 1.0
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 if odd else 1, freedom, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total


@functools.cache
def t_quantile(coverage: float, freedom: int) -> float:
    """The t that |T| does not exceed with this probability, found by bisection.

    Args:
        coverage: In (0, 1), for example 0.95.
        freedom: Degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    # A few hundred sums in all, and a comparison asks for the same one in every cell.
    while t_coverage(high, freedom) < coverage:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_coverage(middle, freedom) < coverage else (low, middle)
    return high


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of independent measurements with its t interval; fewer than two give no interval.

    Measurements that are all the same number give no interval either: how much they would vary can't be told from them.
    """
    found = np.array(values, dtype=np.float64)
    if not len(found) or not np.isfinite(found).all():
        return Interval(math.nan)
    mean = float(found.mean())
    spread = _spread(found)
    if not spread:
        return Interval(mean)
    half = t_quantile(confidence, len(found) - 1) * spread / math.sqrt(len(found))
    return Interval(mean, mean - half, mean + half)


def t_test(differences: Sequence[float]) -> float:
    """The two-sided p value of a paired t test: that differences so far from 0 come about by chance.

    All 0 gives 1. NaN for fewer than two differences, and for several that are the same number other than 0.
    """
    found = np.array(differences, dtype=np.float64)
    if len(found) < 2 or not np.isfinite(found).all():
        return math.nan
    if not found.any():
        return 1.0
    spread = _spread(found)
    if not spread:
        return math.nan
    t = abs(float(found.mean())) * math.sqrt(len(found)) / spread
    return min(1.0, max(0.0, 1.0 - t_coverage(t, len(found) - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for having made several comparisons: the chance of one false claim among all stays bounded.

    Holm, "A simple sequentially rejective multiple test procedure", 1979. The smallest is multiplied by their number,
    the next by one less, and so on, and none falls below the one before it. NaN is no comparison and stays NaN.
    """
    corrected = [math.nan] * len(p_values)
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    highest = 0.0
    for position, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - position) * p_values[i]))
        corrected[i] = highest
    return corrected


def _spread(values: np.ndarray) -> float:
    """The standard deviation of a sample; 0 where there is none but for rounding."""
    if len(values) < 2:
        return 0.0
    spread = float(values.std(ddof=1))
    return spread if spread > 1e-12 * max(1.0, float(np.abs(values).max())) else 0.0
