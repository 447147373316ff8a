"""NumberScale: from a target's own units to those that a head computes in, and back.

Networks learn numbers of mean 0 and deviation 1. A skewed target is brought there by a logarithm, one with heavy tails
on both sides by the normal scores of its quantiles; the way back is the exact inverse, and ends where training values
give no ground: a prediction is always a finite number.

A mistyped value must not set the scale. A value is outlying if it lies 10 interquartile ranges beyond the quartiles
and 3 beyond those of the logarithms too (10, where more than 1% lie far out), and if it is one of few (2%) or a code
that stands for a missing number (all of them the same). So 1e9 among weights of fruit is outlying, and the largest of
a thousand incomes is not.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["NumberScale", "Transform", "choose_transform", "fit_scale", "plausible_range"]

Transform = Literal["none", "log", "quantile"]

_FAR, _FAR_LOG = 10.0, 3.0  # interquartile ranges; Tukey's "far out" is 3
_FEWEST = 10  # values, of which two outlying ones are not half
_FEW, _FEW_SHARE = 2, 0.02
_HEAVY_SHARE = 0.01  # far out; of a Cauchy distribution 3%, of Student's with three degrees of freedom 0.05%
_MOST_CODES = 0.2  # share of values that may be one code for a missing number
_SKEWED = 0.4  # Kelly's; an exponential distribution has 0.47, a log-normal one of sigma 0.66 has 0.4
_FEWEST_SKEWED = 30  # values; the 10% quantile of fewer is chance
_MOST_KNOTS = 200


@dataclass(frozen=True, kw_only=True)
class NumberScale:
    """How one target column is scaled: z = (t(y) - center) / scale.

    Attributes:
        transform: t: "none"; "log", asinh(y / unit), a logarithm above the unit that takes zeros and both signs; or
            "quantile", piecewise linear from training quantiles to normal scores.
        center: Mean of the transformed training values.
        scale: Their standard deviation.
        unit: Of the logarithm.
        knots: Of the quantile transform, increasing, in the target's units.
        scores: Their normal scores, increasing.
        low: The least plausible value; None where nothing tells.
        high: The largest one.
        limits: The range of z that is transformed back; predictions beyond it are its ends. None: no end.
    """

    transform: Transform = "none"
    center: float = 0.0
    scale: float = 1.0
    unit: float = 1.0
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        numbers = [self.center, self.scale, self.unit, *self.knots, *self.scores, *(self.limits or ())]
        numbers += [bound for bound in (self.low, self.high) if bound is not None]
        if not all(map(math.isfinite, numbers)) or self.scale <= 0 or self.unit <= 0:
            raise ValueError(f"scale: found {self}, expected finite numbers, scale and unit above 0")
        if len(self.knots) != len(self.scores) or (self.transform == "quantile" and len(self.knots) < 2):
            raise ValueError("scale: a quantile transform has at least two knots, each with a score")
        if any(a >= b for row in (self.knots, self.scores) for a, b in itertools.pairwise(row)):
            raise ValueError("scale: knots and scores must increase")

    def is_plausible(self, values: np.ndarray) -> np.ndarray:
        """Which values are not outlying, bool; NaN is not."""
        low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        result: np.ndarray = (values >= low) & (values <= high)
        return result

    def standardized(self, values: np.ndarray) -> np.ndarray:
        """Values in the target's units as z, float64."""
        return (_transformed(np.asarray(values, dtype=np.float64), self) - self.center) / self.scale

    def restored(self, scaled: np.ndarray) -> np.ndarray:
        """The inverse of `standardized`, within `limits`."""
        scaled = np.asarray(scaled, dtype=np.float64)
        if self.limits is not None:
            scaled = np.clip(scaled, *self.limits)
        values = scaled * self.scale + self.center
        match self.transform:
            case "log":
                values = np.sinh(values) * self.unit
            case "quantile":
                values = np.interp(values, self.scores, self.knots)
        return values


def _transformed(values: np.ndarray, scale: NumberScale) -> np.ndarray:
    match scale.transform:
        case "log":
            return np.arcsinh(values / scale.unit)
        case "quantile":
            inside = np.interp(values, scale.knots, scale.scores)
            return np.where(np.isnan(values), np.nan, inside)
    return values


def fit_scale(values: np.ndarray, transform: Transform, bounds: tuple[float, float] | None) -> NumberScale:
    """The scale of training values.

    Args:
        values: float64 [values], none missing, not all plausible ones the same.
        transform: Which.
        bounds: The plausible range, see `plausible_range`; None: all values count.
    """
    low, high = (None, None) if bounds is None else bounds
    plausible = values if bounds is None else values[(values >= bounds[0]) & (values <= bounds[1])]
    unit = _unit(plausible) if transform == "log" else 1.0
    knots, scores = _knots(plausible) if transform == "quantile" else ((), ())
    bare = NumberScale(transform=transform, unit=unit, knots=knots, scores=scores)
    transformed = bare.standardized(plausible)
    center, deviation = float(transformed.mean()), float(transformed.std())
    limits = None
    if transform != "none":
        ends = (np.array([transformed.min(), transformed.max()]) - center) / deviation
        # A logarithm leaves room for half of the training values' range on both sides; quantiles know nothing outside.
        room = 0.5 * float(ends[1] - ends[0]) if transform == "log" else 0.0
        limits = (float(ends[0]) - room, float(ends[1]) + room)
    return NumberScale(
        transform=transform, center=center, scale=deviation, unit=unit, knots=knots, scores=scores,
        low=low, high=high, limits=limits,
    )  # fmt: skip


def choose_transform(values: np.ndarray, bounds: tuple[float, float] | None) -> Transform:
    """What suits training values.

    A logarithm where Kelly's skewness, of the quantiles 10, 50 and 90%, is 0.4 or more and the logarithms have less
    than half of it; the normal scores of quantiles where many values lie far out even so; else nothing.

    Args:
        values: float64 [values], none missing.
        bounds: The plausible range; None: all values count.
    """
    if len(values) < _FEWEST_SKEWED:
        return "none"
    plausible = values if bounds is None else values[(values >= bounds[0]) & (values <= bounds[1])]
    if len(plausible) < _FEWEST_SKEWED:
        return "none"
    logs = np.arcsinh(plausible / _unit(plausible))
    before, after = abs(_skewness(plausible)), abs(_skewness(logs))
    if before >= _SKEWED and after < before / 2:
        return "log"
    return "quantile" if _has_heavy_tails(plausible) and len(np.unique(plausible)) >= _FEWEST_SKEWED else "none"


def plausible_range(values: np.ndarray) -> tuple[float, float] | None:
    """The range outside which a training value is taken for a mistake; None where nothing tells.

    Args:
        values: float64 [values], none missing.
    """
    plain = _fences(values, _FAR)
    if plain is None:
        return None
    unit, is_heavy = _unit(values), _has_heavy_tails(values)
    logs = _fences(np.arcsinh(values / unit), _FAR if is_heavy else _FAR_LOG)
    if logs is None:
        return None
    # float32 ends at 3e38; a fence beyond it holds everything.
    low, high = (float(np.clip(np.sinh(np.clip(end, -700, 700)) * unit, -1e38, 1e38)) for end in logs)
    low, high = min(plain[0], low), max(plain[1], high)
    outlying = values[(values < low) | (values > high)]
    return (low, high) if _are_few(outlying, values) or _are_a_code(outlying, values) else None


def _has_heavy_tails(values: np.ndarray) -> bool:
    """Whether many different values lie far out, so that it is their nature."""
    fences = _fences(values, _FAR)
    if fences is None:
        return False
    far = values[(values < fences[0]) | (values > fences[1])]
    return len(far) > max(_FEW, _HEAVY_SHARE * len(values)) and not _are_a_code(far, values)


def _are_few(outlying: np.ndarray, values: np.ndarray) -> bool:
    return len(outlying) <= max(_FEW, _FEW_SHARE * len(values))


def _are_a_code(outlying: np.ndarray, values: np.ndarray) -> bool:
    return len(np.unique(outlying)) == 1 and len(outlying) <= _MOST_CODES * len(values)


def _fences(values: np.ndarray, factor: float) -> tuple[float, float] | None:
    """So many interquartile ranges beyond the quartiles; of the other values where more than a quarter are alike."""
    if len(values) < _FEWEST:
        return None
    each, counts = np.unique(values, return_counts=True)
    if counts.max() > len(values) / 4:
        common = float(each[counts.argmax()])
        rest = _fences(values[values != common], factor)
        return None if rest is None else (min(rest[0], common), max(rest[1], common))
    low, high = (float(edge) for edge in np.quantile(values, (0.25, 0.75)))
    return low - factor * (high - low), high + factor * (high - low)


def _unit(values: np.ndarray) -> float:
    """Where the logarithm begins: the 5% quantile of the sizes, or, of values on both sides of 0, their spread."""
    others = values[values != 0]
    if not len(others):
        return 1.0
    positive = float(np.mean(others > 0))
    if 0.1 <= positive <= 0.9:
        low, high = np.quantile(values, (0.25, 0.75))
        unit = float(high - low) / 1.349
    else:
        unit = float(np.quantile(np.abs(others[(others > 0) == (positive > 0.5)]), 0.05))
    return unit if unit > 0 else float(np.median(np.abs(others)))


def _skewness(values: np.ndarray) -> float:
    """Kelly's; 0 where the quantiles are the same."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return float((low + high - 2 * middle) / (high - low)) if high > low else 0.0


def _knots(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """At most 200 training quantiles and their normal scores; equal values share one, that of their middle rank."""
    from scipy.special import ndtri

    each, counts = np.unique(values, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / len(values)
    if len(each) > _MOST_KNOTS:
        chosen = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], _MOST_KNOTS)).clip(0, len(each) - 1))
        each, ranks = each[chosen], ranks[chosen]
    return tuple(each.tolist()), tuple(ndtri(ranks).tolist())
