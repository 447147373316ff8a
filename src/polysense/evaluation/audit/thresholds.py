"""Thresholds of two classes: from which probability a row is called positive, and what that costs.

A missed positive may cost more than a false alarm. For each ratio of the two costs the threshold of least cost is
chosen on the validation rows, or, where there are none apart, for each tenth of the rows on the other nine; never on
the rows that it is judged on. Beside it stands the threshold that calibrated probabilities would need, 1 / (1 + ratio)
(Elkan, "The Foundations of Cost-Sensitive Learning", 2001, theorem 1), and 1/2. Costs are per row, in false alarms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from polysense.core.json import JsonValue, json_object
from polysense.core.metric import Statistics
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.evaluation.audit.apart import NUM_FOLDS, folds_of
from polysense.evaluation.audit.part import AuditInput, AuditPart
from polysense.evaluation.bootstrap import Interval, multiplicities, simultaneous

__all__ = ["CostPoint", "OperatingPoint", "Thresholds", "best_threshold", "measure_thresholds"]

RATIOS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""What a missed positive costs, in false alarms."""

_FEWEST_OF_EACH = 10  # positives, and negatives: fewer say nothing of a threshold
_MOST_POINTS = 120
_LISTED = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a threshold does.

    Attributes:
        threshold: Rows at or above it are called positive.
        recall: The share of the positives that are.
        false_alarms: The share of the negatives that are.
        precision: The share of those called positive that are; NaN where none is.
    """

    threshold: float
    recall: float
    false_alarms: float
    precision: float


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """The cost at one ratio.

    Attributes:
        ratio: What a missed positive costs, in false alarms.
        threshold: The one chosen; the median of the folds'.
        calibrated_threshold: What calibrated probabilities would need.
        cost: Per row, at the threshold.
        cost_at_half: At 1/2.
        saving: How much less; its interval holds for all ratios at once.
    """

    ratio: float
    threshold: float
    calibrated_threshold: float
    cost: float
    cost_at_half: float
    saving: Interval

    def as_json(self) -> dict[str, JsonValue]:
        """For audit.json."""
        return {**json_object(self), "saving": dict(self.saving.as_json())}


@dataclass(frozen=True, eq=False, kw_only=True)
class Thresholds(AuditPart):
    """The thresholds of a target of two classes.

    Attributes:
        split: The rows' name.
        positive: The class whose probability is compared.
        num_positives: Rows of it.
        num_negatives: Rows of the other.
        chosen_on: Which rows the thresholds are chosen on, in words.
        curve: By falling threshold.
        listed: Some thresholds.
        costs: By ratio.
        confidence: Of the intervals.
    """

    name: ClassVar[str] = "thresholds"
    title: ClassVar[str] = "Thresholds and costs"
    template: ClassVar[str] = "audit_thresholds.html.j2"

    split: str
    positive: str
    num_positives: int
    num_negatives: int
    chosen_on: str = ""
    curve: tuple[OperatingPoint, ...] = ()
    listed: tuple[OperatingPoint, ...] = ()
    costs: tuple[CostPoint, ...] = ()
    confidence: float = 0.95

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "positive": self.positive,
            "num_positives": self.num_positives,
            "num_negatives": self.num_negatives,
            "chosen_on": self.chosen_on,
            "operating_points": [json_object(each) for each in self.listed],
            "costs": [each.as_json() for each in self.costs],
        }

    def findings(self) -> Sequence[str]:
        if not self.costs:
            total = self.num_positives + self.num_negatives
            return [
                f"{self.num_positives:,} of {total:,} rows are {self.positive!r}: too few of one class to choose a "
                f"threshold; {_FEWEST_OF_EACH} of each are needed."
            ]
        worth = [each for each in self.costs if each.saving.has_bounds and each.saving.low > 0]
        if not worth:
            return [
                f"At no ratio of costs from {RATIOS[0]:g} to {RATIOS[-1]:g} does another threshold than 0.5 measurably "
                "save anything."
            ]
        best = max(worth, key=lambda each: each.saving.value)
        return [
            f"Where a missed {self.positive!r} costs {best.ratio:g} times as much as a false alarm, a threshold of "
            f"{best.threshold:.2f}, chosen on {self.chosen_on}, costs {best.cost:.3f} false alarms per row and 0.5 "
            f"costs {best.cost_at_half:.3f}: {best.saving.value:.3f} less ({best.saving.low:.3f} to "
            f"{best.saving.high:.3f}, corrected for {len(self.costs)} ratios)."
        ]


def measure_thresholds(asked: AuditInput) -> Thresholds | None:
    """The thresholds of one target; None where it has not two classes."""
    scored = _scores(asked.target, asked.statistics)
    if scored is None:
        return None
    positive, rows, scores, truth = scored
    result = Thresholds(
        target=asked.target.name,
        split=asked.split,
        positive=positive,
        num_positives=int(truth.sum()),
        num_negatives=int((~truth).sum()),
        confidence=asked.confidence,
    )
    if min(result.num_positives, result.num_negatives) < _FEWEST_OF_EACH:
        return result
    chosen = _chosen(asked, rows, scores, truth)
    if chosen is None:
        return result
    thresholds, chosen_on = chosen
    misses, alarms = _errors(scores, truth, thresholds)
    half_misses, half_alarms = _errors(scores, truth, np.full((len(RATIOS), len(rows)), 0.5))
    ratios = np.array(RATIOS)[:, None]
    costs, at_half = ratios * misses + alarms, ratios * half_misses + half_alarms
    clusters = None if asked.clusters is None else asked.clusters[rows]
    resampled = [np.zeros((0, len(RATIOS)))]
    for weights in multiplicities(len(rows), asked.bootstrap, asked.seed, clusters=clusters):
        resampled.append(weights @ (at_half - costs).T / weights.sum(axis=1, keepdims=True))
    savings = simultaneous((at_half - costs).mean(axis=1), np.concatenate(resampled), asked.confidence)
    return Thresholds(
        **{
            **vars(result),
            "chosen_on": chosen_on,
            "curve": _curve(scores, truth),
            "listed": tuple(_point(scores, truth, threshold) for threshold in _LISTED),
            "costs": tuple(
                CostPoint(
                    ratio=ratio,
                    threshold=float(np.median(thresholds[i])),
                    calibrated_threshold=1 / (1 + ratio),
                    cost=float(costs[i].mean()),
                    cost_at_half=float(at_half[i].mean()),
                    saving=savings[i],
                )
                for i, ratio in enumerate(RATIOS)
            ),
        }
    )


def best_threshold(scores: Float[np.ndarray, " rows"], truth: Bool[np.ndarray, " rows"], ratio: float) -> float:
    """The threshold of least cost on some rows, in the middle between two scores; of equally good ones the highest.

    Args:
        scores: Of the positive class, in [0, 1].
        truth: Which rows are of it.
        ratio: What a missed positive costs, in false alarms.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], truth[order]
    # The cost where the first k rows are called positive, for k from 0.
    costs = ratio * (hits.sum() - np.concatenate([[0], np.cumsum(hits)])) + np.concatenate([[0], np.cumsum(~hits)])
    possible = np.concatenate([[True], ordered[1:] < ordered[:-1], [True]])  # equal scores are called alike
    best = int(np.where(possible, costs, np.inf).argmin())
    above = ordered[best - 1] if best else 1.0 + 1e-6
    below = ordered[best] if best < len(ordered) else 0.0
    return float((above + below) / 2) if best else float(above)


def _scores(target: Target, statistics: Statistics) -> tuple[str, np.ndarray, np.ndarray, np.ndarray] | None:
    """The positive class, the rows that are judged, its probability and whether they are of it."""
    answer = task(target.task).class_probabilities
    if isinstance(answer, Unsupported) or not statistics["present"].any():
        return None
    judged = answer(target, statistics)
    if len(judged.classes) != 2 or len(np.unique(judged.rows)) != len(judged.rows):
        return None
    scores = np.asarray(judged.probabilities[:, 1], dtype=np.float64)
    known = np.isfinite(scores)
    return judged.classes[1], judged.rows[known], scores[known], judged.truth[known] == 1


def _chosen(
    asked: AuditInput, rows: np.ndarray, scores: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, str] | None:
    """Per ratio the threshold that each row is judged by, float64 [ratios, rows], and what chose it; None: nothing."""
    if asked.calibration is not None:
        apart = _scores(asked.target, asked.calibration)
        if apart is None or min(apart[3].sum(), (~apart[3]).sum()) < _FEWEST_OF_EACH:
            return None
        best = [best_threshold(apart[2], apart[3], ratio) for ratio in RATIOS]
        return np.repeat(np.array(best)[:, None], len(rows), axis=1), f"{len(apart[2]):,} validation rows"
    folds = folds_of(asked)
    if folds is None:
        return None
    fold_of = folds[rows]
    thresholds = np.full((len(RATIOS), len(rows)), 0.5)
    for fold in range(NUM_FOLDS):
        others = fold_of != fold
        for i, ratio in enumerate(RATIOS):
            thresholds[i, ~others] = best_threshold(scores[others], truth[others], ratio)
    return thresholds, "the other nine tenths of the rows"


def _errors(scores: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Missed positives and false alarms, float64 [ratios, rows] each."""
    called = scores >= thresholds
    return (truth & ~called).astype(np.float64), (~truth & called).astype(np.float64)


def _point(scores: np.ndarray, truth: np.ndarray, threshold: float) -> OperatingPoint:
    called = scores >= threshold
    hits = int((called & truth).sum())
    return OperatingPoint(
        threshold=threshold,
        recall=hits / int(truth.sum()),
        false_alarms=int((called & ~truth).sum()) / int((~truth).sum()),
        precision=hits / int(called.sum()) if called.any() else float("nan"),
    )


def _curve(scores: np.ndarray, truth: np.ndarray) -> tuple[OperatingPoint, ...]:
    """Some of the thresholds at which something changes, from above all scores to the lowest."""
    levels = np.unique(scores)[::-1]
    if len(levels) > _MOST_POINTS:
        levels = levels[np.linspace(0, len(levels) - 1, _MOST_POINTS).astype(int)]
    return tuple(_point(scores, truth, float(level)) for level in (np.inf, *levels))
