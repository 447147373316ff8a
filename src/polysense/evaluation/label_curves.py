"""Learning curves of labeling strategies: what labels are worth, and whether a strategy saves any.

Scores are those of the target's headline metric on rows that no strategy may choose, after so many labels, by seed. A
curve's area is the mean score over the logarithm of the number of labels, as in the active learning challenge (Guyon
et al., "Results of the Active Learning Challenge", 2011, section 2.3), so that the first labels count as much as the
many last ones. Strategies are compared with random rows in pairs: resamples draw tested rows (whole groups) and seeds,
the same ones for both, so that the interval says what other rows and other starts would have changed. Several
strategies are claimed to differ only where intervals that hold all at once say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from polysense.core.json import json_object
from polysense.core.metric import Metric
from polysense.core.random import generator
from polysense.evaluation.bootstrap import Interval, interval, simultaneous
from polysense.evaluation.significance import Outcome

__all__ = ["RANDOM", "SHARE", "LabelCurves", "StrategyCurve", "area", "compare_curves", "labels_needed"]

RANDOM = "random"

SHARE = 0.9
"""Of the full score, that of all labels, which a curve is asked when it reaches it."""


@dataclass(frozen=True, kw_only=True)
class StrategyCurve:
    """One strategy.

    Attributes:
        strategy: Its name.
        scores: After each number of labels the mean over the seeds.
        area: Under the curve, in units of the score.
        gain: The area less that of random rows, higher is better whatever the metric; None for random rows.
        outcome: What may be said of the gain; None likewise.
        labels_needed: For the goal, the median over the seeds; infinite where it was not reached.
        by_seed: The areas.
    """

    strategy: str
    scores: tuple[Interval, ...]
    area: Interval
    gain: Interval | None
    outcome: Outcome | None
    labels_needed: Interval
    by_seed: tuple[float, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelCurves:
    """What was measured.

    Attributes:
        target: What is labeled.
        metric: That scores are of.
        numbers: Of labels, ascending.
        full: The score with all labels.
        goal: The score that `SHARE` of it is.
        curves: Of all strategies.
        num_pool: Rows that could be labeled.
        num_tested: Rows that scores are of.
        num_groups: Groups of them, which resamples draw whole; None: rows are on their own.
        num_seeds: Repetitions.
        split: What the tested rows are: "test" or "validation".
        features: What the learner read, in words.
        notes: What was left out, and why.
    """

    target: str
    metric: Metric
    numbers: tuple[int, ...]
    full: Interval
    goal: float
    curves: tuple[StrategyCurve, ...]
    num_pool: int
    num_tested: int
    num_groups: int | None
    num_seeds: int
    split: str
    features: str
    notes: tuple[str, ...] = ()

    @property
    def metric_name(self) -> str:
        """In words."""
        return self.metric.name.replace("_", " ")

    def verdict(self) -> str:
        """Which strategy to take, in a sentence."""
        compared = [curve for curve in self.curves if curve.gain is not None]
        better = [curve for curve in compared if curve.outcome is Outcome.BETTER]
        worse = [curve.strategy for curve in compared if curve.outcome is Outcome.WORSE]
        below = f" Significantly worse than random rows: {', '.join(worse)}." if worse else ""
        if not compared:
            return "Only one strategy was tried, so nothing is compared."
        if better:
            best = max(better, key=lambda curve: curve.gain.value if curve.gain else -math.inf)
            others = [curve.strategy for curve in better if curve is not best]
            also = f" Better than random rows, too: {', '.join(others)}." if others else ""
            return f"Take {best.strategy}: its area is significantly larger than that of random rows.{also}{below}"
        if len(worse) == len(compared):
            return "Random rows win: every strategy is significantly worse. Label rows at random."
        return f"No strategy is significantly better than random rows. Label rows at random.{below}"

    def remarks(self) -> list[str]:
        """What to know of the figures, a sentence each."""
        open_ = [curve.strategy for curve in self.curves if curve.outcome is Outcome.CORRECTED]
        unclear = [f"unclear, since several strategies were compared: {', '.join(open_)}"] if open_ else []
        groups = "" if self.num_groups is None else f" in {self.num_groups:,} groups, which resamples draw whole"
        return [
            self.verdict(),
            f"{SHARE:.0%} of the full score is {self.goal:.3f}; the learner has {self.full.value:.3f} with all "
            f"{self.num_pool:,} labels",
            f"scores are of {self.num_tested:,} {self.split} rows{groups}, means over {self.num_seeds} seeds; an area "
            "is the mean over the logarithm of the number of labels",
            *unclear,
            f"features: {self.features}",
            *self.notes,
        ]

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return json_object(
            self,
            metric=self.metric.name,
            higher_is_better=self.metric.higher_is_better,
            curves={curve.strategy: json_object(curve) for curve in self.curves},
            verdict=self.verdict(),
        )


def area(
    numbers: Sequence[int] | Float[np.ndarray, " points"], scores: Float[np.ndarray, points * more]
) -> Float[np.ndarray, "*more"]:
    """The mean of a curve over the logarithm of the number of labels, by the trapezoidal rule; one point's is it."""
    at = np.log2(np.asarray(numbers, dtype=np.float64))
    if len(at) < 2:
        return np.asarray(scores[0])
    widths = np.diff(at).reshape(-1, *([1] * (scores.ndim - 1)))
    return np.asarray((widths * (scores[1:] + scores[:-1]) / 2).sum(axis=0) / (at[-1] - at[0]))


def labels_needed(
    numbers: Sequence[int], scores: Float[np.ndarray, points * more], goal: Float[np.ndarray, "*more"]
) -> Float[np.ndarray, "*more"]:
    """Labels after which a curve first reaches a goal, between two points on the logarithm; infinite if never.

    Args:
        numbers: Of labels.
        scores: Higher is better.
        goal: For each curve.
    """
    at = np.log2(np.asarray(numbers, dtype=np.float64)).reshape(-1, *([1] * (scores.ndim - 1)))
    reached = scores >= goal
    first = reached.argmax(axis=0)[None]
    before = np.maximum(first - 1, 0)
    high, low = np.take_along_axis(scores, first, 0)[0], np.take_along_axis(scores, before, 0)[0]
    points = np.broadcast_to(at, scores.shape)
    right, left = np.take_along_axis(points, first, 0)[0], np.take_along_axis(points, before, 0)[0]
    share = np.where(high > low, (goal - low) / np.where(high > low, high - low, 1.0), 1.0)
    exact = 2.0 ** (left + np.clip(share, 0.0, 1.0) * (right - left))
    return np.asarray(np.where(reached.any(axis=0), exact, np.inf))


def compare_curves(
    scores: Mapping[str, Float[np.ndarray, "seeds points resamples_1"]],
    full: Float[np.ndarray, " resamples_1"],
    empty: float,
    numbers: Sequence[int],
    metric: Metric,
    *,
    seed: int,
    confidence: float = 0.95,
) -> tuple[tuple[StrategyCurve, ...], Interval, float]:
    """Curves with their intervals.

    Args:
        scores: By strategy; the first of the last axis is of all tested rows, the others of resamples of them.
        full: Likewise with all labels.
        empty: The score without any label, which the goal of a metric without 0 as its worst is measured from.
        numbers: Of labels.
        metric: What scores are of.
        seed: Of the resampled seeds.
        confidence: Of the intervals.

    Returns:
        The curves, the full score, and the goal.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    start = 0.0 if metric.higher_is_better and metric.bounds[0] == 0.0 else empty
    if not math.isfinite(start):
        start = 0.0
    goals = start + SHARE * (full - start)
    num_seeds, num_resamples = next(iter(scores.values())).shape[0], len(full) - 1
    drawn = generator(seed, "seeds of curves").integers(0, num_seeds, (num_resamples, num_seeds))
    counts = np.stack([np.bincount(one, minlength=num_seeds) for one in drawn]) if num_resamples else drawn
    shares = np.concatenate([np.full((1, num_seeds), 1.0), counts]).T / num_seeds  # [seeds, 1 + resamples]
    areas = {name: area(numbers, np.moveaxis(values, 1, 0)) for name, values in scores.items()}
    mean_areas = {name: (values * shares).sum(axis=0) for name, values in areas.items()}
    gains, outcomes = {}, {}
    if RANDOM in areas:
        differences = {n: sign * (v - mean_areas[RANDOM]) for n, v in mean_areas.items() if n != RANDOM}
        gains = {name: interval(float(v[0]), v[1:], confidence) for name, v in differences.items()}
        if differences:
            stacked = np.stack(list(differences.values()), axis=1)
            together = simultaneous(stacked[0], stacked[1:], confidence)
            outcomes = {n: _outcome(gains[n], one) for n, one in zip(differences, together, strict=True)}
    curves = []
    for name, values in scores.items():
        means = np.einsum("spr,sr->pr", values, shares)
        goal_of_each = np.broadcast_to(sign * goals, values[:, 0].shape)
        needed = labels_needed(numbers, sign * np.moveaxis(values, 1, 0), goal_of_each)
        curves.append(
            StrategyCurve(
                strategy=name,
                scores=tuple(interval(float(one[0]), one[1:], confidence) for one in means),
                area=interval(float(mean_areas[name][0]), mean_areas[name][1:], confidence),
                gain=gains.get(name),
                outcome=outcomes.get(name),
                labels_needed=_median_interval(needed, counts, confidence),
                by_seed=tuple(areas[name][:, 0].tolist()),
            )
        )
    return tuple(curves), interval(float(full[0]), full[1:], confidence), float(goals[0])


def _outcome(own: Interval, together: Interval) -> Outcome:
    if not own.has_bounds:
        return Outcome.NO_CLAIM
    for low, high in ((together.low, together.high),):
        if low > 0:
            return Outcome.BETTER
        if high < 0:
            return Outcome.WORSE
    return Outcome.CORRECTED if own.low > 0 or own.high < 0 else Outcome.NONE


def _median_interval(needed: Float[np.ndarray, "seeds resamples_1"], counts: np.ndarray, confidence: float) -> Interval:
    """The median over seeds, and its interval, whose ends may be infinite."""
    value = float(np.median(needed[:, 0]))
    resampled = [float(np.sort(np.repeat(needed[:, 1 + k], count))[len(needed) // 2]) for k, count in enumerate(counts)]
    if not resampled:
        return Interval(value)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], method="nearest")
    return Interval(value, min(float(low), value), max(float(high), value))
