"""Predicted against actual numbers: bias, residuals by predicted value, and how many values the intervals hold.

Residuals are predictions less values. In bins of about equally many rows by predicted value their mean has an interval
that holds for all bins at once, so that a bend is told from chance; the predicted intervals' coverage has the exact
binomial one, or, where rows have groups, the bootstrap's over groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from polysense.core.audit_answers import PredictedNumbers
from polysense.core.json import JsonValue
from polysense.core.metric import higher
from polysense.core.random import permutation
from polysense.core.registry import task
from polysense.core.unsupported import Unsupported
from polysense.evaluation.audit.calibration import equal_count_bins
from polysense.evaluation.audit.part import AuditInput, AuditPart
from polysense.evaluation.bootstrap import Interval, interval, metric_interval, multiplicities, simultaneous
from polysense.evaluation.contribution_result import FEWEST_ROWS
from polysense.evaluation.metrics.base import ratio

__all__ = ["NumberResiduals", "ResidualBin", "Residuals", "measure_residuals"]

_MOST_BINS = 8
_ROWS_PER_BIN = 20
_MOST_POINTS = 400
_COVERAGE = higher("coverage", "Share of the values inside the predicted intervals.", is_share=True)


@dataclass(frozen=True, kw_only=True)
class ResidualBin:
    """Rows of about the same prediction.

    Attributes:
        low: The lowest prediction.
        high: The highest.
        mean: Of the predictions.
        residual: The mean residual; its interval holds for all bins at once.
        num: Rows.
    """

    low: float
    high: float
    mean: float
    residual: Interval
    num: int


@dataclass(frozen=True, eq=False, kw_only=True)
class NumberResiduals:
    """The residuals of one number.

    Attributes:
        name: Of the number.
        unit: "" if it has none.
        num: Rows.
        bias: The mean residual.
        quantiles: The 5%, 50% and 95% quantile of the residuals.
        bins: By predicted value.
        level: What the predicted intervals are to hold; 0 where there are none.
        coverage: The share of values that they hold; NaN where there are none.
        predicted: Of some rows, for a picture.
        truth: Of the same rows.
    """

    name: str
    unit: str
    num: int
    bias: Interval
    quantiles: tuple[float, float, float]
    bins: tuple[ResidualBin, ...]
    level: float
    coverage: Interval
    predicted: Float[np.ndarray, " points"]
    truth: Float[np.ndarray, " points"]

    @property
    def residuals(self) -> np.ndarray:
        """Of the rows of the picture."""
        result: np.ndarray = self.predicted - self.truth
        return result

    @property
    def has_intervals(self) -> bool:
        """Whether intervals are predicted."""
        return math.isfinite(self.coverage.value)

    @property
    def named_unit(self) -> str:
        """The unit behind a number."""
        return f" {self.unit}" if self.unit else ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Residuals(AuditPart):
    """The residuals of a target.

    Attributes:
        split: The rows' name.
        numbers: One for each number.
        confidence: Of the intervals.
    """

    name: ClassVar[str] = "residuals"
    title: ClassVar[str] = "Predicted against actual"
    template: ClassVar[str] = "audit_residuals.html.j2"

    split: str
    numbers: tuple[NumberResiduals, ...]
    confidence: float = 0.95

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "numbers": [
                {
                    "name": each.name,
                    "unit": each.unit,
                    "num_rows": each.num,
                    "bias": dict(each.bias.as_json()),
                    "residual_quantiles": dict(zip(("0.05", "0.5", "0.95"), each.quantiles, strict=True)),
                    "bins": [
                        {
                            "low": one.low,
                            "high": one.high,
                            "mean": one.mean,
                            "residual": dict(one.residual.as_json()),
                            "num_rows": one.num,
                        }
                        for one in each.bins
                    ],
                    "interval_level": each.level or None,
                    "interval_coverage": dict(each.coverage.as_json()),
                }
                for each in self.numbers
            ]
        }

    def findings(self) -> Sequence[str]:
        return [self._sentence(each) for each in self.numbers]

    def _sentence(self, each: NumberResiduals) -> str:
        if each.num < FEWEST_ROWS:
            return f"{each.name}: {each.num} rows are too few to judge residuals; {FEWEST_ROWS} are needed."
        low, high, unit = each.bias.low, each.bias.high, each.named_unit
        where = f"on {each.num:,} {self.split} rows"
        if each.bias.has_bounds and not low <= 0 <= high:
            word = "high" if low > 0 else "low"
            least, most = sorted((abs(low), abs(high)))
            return (
                f"Predictions of {each.name} are too {word} by {abs(each.bias.value):.3g}{unit} on average "
                f"({least:.3g} to {most:.3g}) {where}."
            )
        bounds = f" ({low:.3g} to {high:.3g})" if each.bias.has_bounds else ""
        return (
            f"Predictions of {each.name} are neither too high nor too low on average: the mean residual is "
            f"{each.bias.value:.3g}{unit}{bounds} {where}."
        )


def measure_residuals(asked: AuditInput) -> Residuals | None:
    """The residuals of one target; None where its task predicts no numbers."""
    answer = task(asked.target.task).numbers
    if isinstance(answer, Unsupported):
        return None
    numbers = [_measured(asked, each) for each in answer(asked.target, asked.statistics)]
    known = tuple(each for each in numbers if each is not None)
    if not known:
        return None
    return Residuals(target=asked.target.name, split=asked.split, numbers=known, confidence=asked.confidence)


def _measured(asked: AuditInput, number: PredictedNumbers) -> NumberResiduals | None:
    rows = np.flatnonzero(np.isfinite(number.truth) & np.isfinite(number.predicted))
    if not len(rows):
        return None
    truth, predicted = number.truth[rows], number.predicted[rows]
    residual = predicted - truth
    clusters = None if asked.clusters is None else asked.clusters[rows]
    bin_of = equal_count_bins(predicted, min(_MOST_BINS, max(1, len(rows) // _ROWS_PER_BIN)))
    inside = (bin_of[:, None] == np.arange(bin_of.max() + 1)).astype(np.float64)
    covered, has = np.zeros(len(rows)), np.zeros(len(rows))
    if number.low is not None and number.high is not None:
        low, high = number.low[rows], number.high[rows]
        has = (np.isfinite(low) & np.isfinite(high)).astype(np.float64)
        covered = has * ((truth >= low) & (truth <= high))
    biases, means, shares = [np.zeros(0)], [np.zeros((0, inside.shape[1]))], [np.zeros(0)]
    for weights in multiplicities(len(rows), asked.bootstrap, asked.seed, clusters=clusters):
        biases.append(weights @ residual / weights.sum(axis=1))
        means.append(ratio(weights @ (inside * residual[:, None]), weights @ inside))
        shares.append(ratio(weights @ covered, weights @ has))
    values = (inside * residual[:, None]).sum(axis=0) / inside.sum(axis=0)
    intervals = simultaneous(values, np.concatenate(means), asked.confidence)
    coverage = Interval(math.nan)
    if has.any():
        groups = None if clusters is None else clusters[has > 0]
        share = float(covered.sum() / has.sum())
        coverage = metric_interval(_COVERAGE, share, np.concatenate(shares), asked.confidence, int(has.sum()), groups)
    shown = np.sort(permutation(len(rows), asked.seed, "points")[:_MOST_POINTS])
    quantiles = np.quantile(residual, (0.05, 0.5, 0.95))
    return NumberResiduals(
        name=number.name,
        unit=number.unit,
        num=len(rows),
        bias=interval(float(residual.mean()), np.concatenate(biases), asked.confidence),
        quantiles=(float(quantiles[0]), float(quantiles[1]), float(quantiles[2])),
        bins=tuple(
            ResidualBin(
                low=float(predicted[chosen].min()),
                high=float(predicted[chosen].max()),
                mean=float(predicted[chosen].mean()),
                residual=intervals[i],
                num=int(chosen.sum()),
            )
            for i in range(inside.shape[1])
            for chosen in (inside[:, i] > 0,)
        ),
        level=number.level if has.any() else 0.0,
        coverage=coverage,
        predicted=predicted[shown],
        truth=truth[shown],
    )
