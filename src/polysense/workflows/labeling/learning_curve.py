"""The learning curve of a labeling: what the labels so far are worth, and what the next hundred would bring.

The error is measured on the held-out rows, a random sample that neither the learner nor its choices have seen, once for
each of several numbers of labels. A power law, error = a * labels^-b (Hestness et al., "Deep Learning Scaling is
Predictable, Empirically", 2017), is fitted by least squares of logarithms and drawn on by a hundred labels. It knows no
floor, so what it promises is rather too much. Intervals are of 95%, by drawing the held-out rows anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from polysense.core.random import generator

__all__ = ["MORE", "CurvePoint", "LearningCurve", "learning_curve", "sizes_for"]

MORE = 100
"""Labels ahead that the curve is drawn on by."""

_FEWEST_HELD_OUT = 30  # rows: below, an interval is wider than any gain
_FEWEST_POINTS = 3
_GAIN_WORTHWHILE = 0.01  # of the error of classes; of numbers, as a share of it
_RELATIVE_GAIN_WORTHWHILE = 0.02
_DRAWS = 400
_SMALLEST = 10
_GROWTH = 1.6
_NEAR = 1.25  # of all labels: a point nearer to the last one says nothing new


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The error after so many labels.

    Attributes:
        num_labels: That the learner was fitted on.
        error: The mean over the held-out rows: the share of wrong ones, or the mean absolute error.
        interval: Of it.
    """

    num_labels: int
    error: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """What is known of it.

    Attributes:
        points: By the number of labels.
        num_held_out: Rows that it was measured on.
        is_share: Whether errors are shares of rows; else they are in the labels' units.
        gain: By how much `MORE` labels would lower the error; None while that is not known.
        gain_interval: Of it.
        advice: "unknown", "go on" or "stop".
        reason: In words.
    """

    points: tuple[CurvePoint, ...]
    num_held_out: int
    is_share: bool
    gain: float | None
    gain_interval: tuple[float, float] | None
    advice: str
    reason: str


def sizes_for(num_labels: int) -> list[int]:
    """The numbers of labels that the error is measured at."""
    sizes, size = [], float(_SMALLEST)
    while size * _NEAR < num_labels or size == _SMALLEST < num_labels:
        sizes.append(round(size))
        size *= _GROWTH
    return [*sizes, num_labels] if num_labels >= 2 else []


def learning_curve(
    sizes: Sequence[int], errors: Float[np.ndarray, "sizes rows"], *, is_share: bool, seed: int = 0
) -> LearningCurve:
    """The curve of errors that were measured.

    Args:
        sizes: Numbers of labels, rising.
        errors: Of each held-out row.
        is_share: Whether an error is 0 or 1; else a number in the labels' units.
        seed: Of the rows that are drawn anew.
    """
    num_rows = errors.shape[1]
    if not len(sizes) or not num_rows:
        return _without_gain((), num_rows, is_share)
    drawn = generator(seed, "learning curve").integers(0, num_rows, (_DRAWS, num_rows))
    means = errors[:, drawn].mean(axis=2)  # [sizes, draws]
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    points = tuple(
        CurvePoint(num_labels=int(size), error=float(row.mean()), interval=(float(a), float(b)))
        for size, row, a, b in zip(sizes, errors, low, high, strict=True)
    )
    if num_rows < _FEWEST_HELD_OUT or len(sizes) < _FEWEST_POINTS:
        return _without_gain(points, num_rows, is_share)
    counts = np.array(sizes, dtype=np.float64)
    gain = float(_gains(counts, errors.mean(axis=1)[:, None], num_rows)[0])
    a, b = np.quantile(_gains(counts, means, num_rows), (0.025, 0.975))
    worthwhile = _GAIN_WORTHWHILE if is_share else _RELATIVE_GAIN_WORTHWHILE * max(points[-1].error, 1e-12)
    stop = gain < worthwhile
    amount = f"{gain * 100:.1f} points" if is_share else f"{gain:.3g}"
    limit = f"{worthwhile * 100:.0f} point" if is_share else f"{_RELATIVE_GAIN_WORTHWHILE:.0%} of it"
    reason = (
        f"{MORE} more labels would lower the error by about {amount}, "
        f"{'less' if stop else 'more'} than {limit}, which is the rule to stop by"
    )
    return LearningCurve(
        points=points,
        num_held_out=num_rows,
        is_share=is_share,
        gain=gain,
        gain_interval=(float(a), float(b)),
        advice="stop" if stop else "go on",
        reason=reason,
    )


def _without_gain(points: tuple[CurvePoint, ...], num_rows: int, is_share: bool) -> LearningCurve:
    lacking = _FEWEST_HELD_OUT - num_rows
    what = f"there are labels for {_FEWEST_POINTS} points"
    if lacking > 0:
        what = f"{lacking} more held-out rows have a label"
    return LearningCurve(
        points=points,
        num_held_out=num_rows,
        is_share=is_share,
        gain=None,
        gain_interval=None,
        advice="unknown",
        reason=f"what {MORE} more labels bring is known once {what}",
    )


def _gains(counts: np.ndarray, errors: np.ndarray, num_rows: int) -> np.ndarray:
    """What `MORE` labels take off the fitted error, [draws].

    Args:
        counts: [sizes] of labels.
        errors: [sizes, draws].
        num_rows: Held out: an error of 0 among so many is taken for half of a row's.
    """
    x = np.log(counts)
    y = np.log(np.maximum(errors, max(0.5 / num_rows * float(errors.max(initial=0.0)), 1e-9)))
    centered = x - x.mean()
    slope = np.minimum(centered @ y / (centered @ centered), 0.0)  # labels do no harm
    level = y.mean(axis=0)
    now, then = (np.exp(level + slope * (np.log(n) - x.mean())) for n in (counts[-1], counts[-1] + MORE))
    return np.asarray(now - then)
