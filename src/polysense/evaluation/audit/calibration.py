"""Calibration: whether a model that says 80% is right in 80% of the cases.

Probabilities are sorted into bins of about equally many rows, and in each the mean probability is set beside the share
that came true, with its exact binomial interval (Clopper and Pearson), or, where rows have groups, the bootstrap's over
groups. Of several classes it is the probability of the predicted one; of two that of the second. Equal counts, not
equal widths: most predictions of a good model crowd near 1, and a bin of three rows says nothing (Nixon et al.,
"Measuring Calibration in Deep Learning", 2019, section 3). The error over these bins is the adaptive one; the target's
own metrics (ECE in 15 bins of equal width, its debiased form, Brier score, log loss) stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polysense.core.binomial import binomial_interval
from polysense.core.json import JsonValue, json_object
from polysense.core.metric import Metric
from polysense.core.registry import task
from polysense.core.task_spec import Measure
from polysense.core.unsupported import Unsupported
from polysense.evaluation.audit.part import AuditInput, AuditPart
from polysense.evaluation.bootstrap import Interval, interval, metric_interval, multiplicities
from polysense.evaluation.contribution_result import FEWEST_ROWS, amount
from polysense.evaluation.evaluator import TargetScorer
from polysense.evaluation.metrics.base import ratio
from polysense.evaluation.target_metrics import metrics_of

__all__ = ["Calibration", "ReliabilityBin", "equal_count_bins", "measure_calibration"]

_MOST_BINS = 15
_ROWS_PER_BIN = 20
_GAP = Measure("gap", "gap", "pp")
_FEWEST_OF_EACH = 5  # that came true, and that did not


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Judgments of about the same probability.

    Attributes:
        low: The lowest probability.
        high: The highest.
        mean: Of the probabilities.
        share: That came true.
        num: Judgments.
    """

    low: float
    high: float
    mean: float
    share: Interval
    num: int

    def as_json(self) -> dict[str, JsonValue]:
        """For audit.json."""
        return {**json_object(self), "share": dict(self.share.as_json())}


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration(AuditPart):
    """What the probabilities are worth.

    Attributes:
        split: The rows' name.
        num: Judgments: rows, or labels of rows.
        judgments: What several of them are called.
        event: What the probability is of, in words.
        is_of_predicted_class: Whether it is of whatever class was predicted.
        bins: By probability.
        adaptive_error: The mean gap of the bins, each weighing as many judgments as it has.
        excess: Mean probability less the share that came true.
        metrics: Of the target, those that are about probabilities.
        calibrated: How the model was calibrated before, in words; "" if it was not.
        is_of_groups: Whether intervals are over groups of rows.
        confidence: Of the intervals.
    """

    name: ClassVar[str] = "calibration"
    title: ClassVar[str] = "Calibration"
    template: ClassVar[str] = "audit_calibration.html.j2"

    split: str
    num: int
    judgments: str
    event: str
    is_of_predicted_class: bool
    bins: tuple[ReliabilityBin, ...]
    adaptive_error: Interval
    excess: Interval
    metrics: Mapping[Metric, Interval]
    calibrated: str = ""
    is_of_groups: bool = False
    confidence: float = 0.95

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "num_judgments": self.num,
            "calibrated_by": self.calibrated,
            "event": self.event,
            "bins": [each.as_json() for each in self.bins],
            "adaptive_calibration_error": dict(self.adaptive_error.as_json()),
            "mean_probability_less_share": dict(self.excess.as_json()),
            "metrics": {metric.name: dict(value.as_json()) for metric, value in self.metrics.items()},
        }

    def findings(self) -> Sequence[str]:
        if self.num < FEWEST_ROWS:
            return [f"{self.num} {self.judgments} are too few to judge the probabilities; {FEWEST_ROWS} are needed."]
        mean = float(np.average([each.mean for each in self.bins], weights=[each.num for each in self.bins]))
        share = mean - self.excess.value
        means = f"the mean probability of {self.event} is {mean:.3f}, and it comes true in {share:.1%}"
        where = f"on {self.num:,} {self.split} {self.judgments}"
        low, high = 100 * self.excess.low, 100 * self.excess.high
        if not self.excess.has_bounds or low <= 0 <= high:
            ends = f"{amount(_GAP, self.excess.low)} to {amount(_GAP, self.excess.high)}"
            bounds = f"; the gap is {ends} pp ({100 * self.confidence:g}% CI)"
            return [
                f"Neither overconfidence nor underconfidence is measured {where}: {means}"
                f"{bounds if self.excess.has_bounds else ''}."
            ]
        low, high = sorted((abs(low), abs(high)))
        gap = f"{100 * abs(self.excess.value):.1f} pp ({low:.1f} to {high:.1f})"
        if self.is_of_predicted_class:
            word = "overconfident" if self.excess.value > 0 else "underconfident"
            return [f"The model is {word} by {gap} {where}: {means}."]
        word = "too high" if self.excess.value > 0 else "too low"
        return [f"Probabilities of {self.event} are {word} by {gap} {where}: {means}."]


def measure_calibration(asked: AuditInput) -> Calibration | None:
    """The calibration of one target; None where its task predicts no probabilities."""
    answer = task(asked.target.task).class_probabilities
    if isinstance(answer, Unsupported) or not len(asked.counted):
        return None
    judged = answer(asked.target, asked.statistics)
    every = np.asarray(judged.probabilities, dtype=np.float64)
    known = np.isfinite(every).all(axis=1)
    if not known.any():
        return None
    every, truth, rows = every[known], judged.truth[known], judged.rows[known]
    is_binary = len(judged.classes) == 2
    predicted = every.argmax(axis=1)
    probability = every[:, 1] if is_binary else every.max(axis=1)
    happened = (truth == (1 if is_binary else predicted)).astype(np.float64)
    # A judgment's place among the rows that count, whose multiplicities are drawn.
    place = np.searchsorted(asked.counted, rows)
    clusters = None if asked.clusters is None else asked.clusters[asked.counted]
    bin_of = equal_count_bins(probability, min(_MOST_BINS, max(1, len(probability) // _ROWS_PER_BIN)))
    inside = (bin_of[:, None] == np.arange(bin_of.max() + 1)).astype(np.float64)
    # Judgments of one row are alike, as rows of one group are.
    is_alone = clusters is None and len(np.unique(rows)) == len(rows)

    scorer = TargetScorer(asked.target, asked.statistics)
    infos = [metric for metric in metrics_of(asked.target) if metric.name in judged.metrics]
    drawn: dict[str, list[np.ndarray]] = {"error": [], "excess": [], "shares": [], **{each.name: [] for each in infos}}

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        own = weights[:, place]
        gaps = own @ (inside * (happened - probability)[:, None])
        scores = scorer(weights, rankings=False)
        return {
            "error": ratio(np.abs(gaps).sum(axis=1), own.sum(axis=1)),
            "excess": ratio(own @ (probability - happened), own.sum(axis=1)),
            "shares": ratio(own @ (inside * happened[:, None]), own @ inside),
            **{each.name: scores[each.name] for each in infos},
        }

    value = measured(np.ones((1, len(asked.counted))))
    for weights in multiplicities(len(asked.counted), asked.bootstrap, asked.seed, clusters=clusters):
        for name, one in measured(weights).items():
            drawn[name].append(one)
    resampled = {name: np.concatenate([value[name][:0], *parts]) for name, parts in drawn.items()}
    bins = []
    for index in range(inside.shape[1]):
        chosen = inside[:, index] > 0
        hits, num = int(happened[chosen].sum()), int(chosen.sum())
        share = (
            Interval(hits / num, *binomial_interval(hits, num, asked.confidence))
            if is_alone
            else interval(hits / num, resampled["shares"][:, index], asked.confidence)
        )
        own_probabilities = probability[chosen]
        bins.append(
            ReliabilityBin(
                low=float(own_probabilities.min()),
                high=float(own_probabilities.max()),
                mean=float(own_probabilities.mean()),
                share=share,
                num=num,
            )
        )
    return Calibration(
        target=asked.target.name,
        split=asked.split,
        num=len(rows),
        judgments=judged.judgments[1],
        event=f"{judged.classes[1]!r}" if is_binary else "the predicted class",
        is_of_predicted_class=not is_binary,
        bins=tuple(bins),
        adaptive_error=interval(float(value["error"][0]), resampled["error"], asked.confidence),
        excess=_widened(
            interval(float(value["excess"][0]), resampled["excess"], asked.confidence),
            float(happened.mean()),
            len(np.unique(rows if clusters is None else clusters[place])),
            asked.confidence,
        ),
        metrics={
            each: metric_interval(
                each,
                float(value[each.name][0]),
                resampled[each.name],
                asked.confidence,
                len(asked.counted),
                clusters,
            )
            for each in infos
        },
        calibrated=asked.calibrated,
        is_of_groups=clusters is not None,
        confidence=asked.confidence,
    )


def _widened(excess: Interval, share: float, num_units: int, confidence: float) -> Interval:
    """The excess over a share that few units tell from 0 or 1, of which a bootstrap sees too little."""
    hits = round(share * num_units)
    if not excess.has_bounds or min(hits, num_units - hits) >= _FEWEST_OF_EACH:
        return excess
    low, high = binomial_interval(hits, num_units, confidence)
    return Interval(
        excess.value, min(excess.low, excess.value + share - high), max(excess.high, excess.value + share - low)
    )


def equal_count_bins(values: np.ndarray, num_bins: int) -> np.ndarray:
    """A bin for each value, of about equally many each; equal values share one, so there may be fewer.

    Args:
        values: float64 [values], at least one.
        num_bins: At most.

    Returns:
        int64 [values], from 0 without gaps, in the order of the values.
    """
    edges = np.quantile(values, np.linspace(0, 1, num_bins + 1)[1:-1], method="inverted_cdf")
    bins = np.searchsorted(np.unique(edges), values, side="left")
    return np.unique(bins, return_inverse=True)[1].astype(np.int64)
