"""Temperatures: what one temperature for each subset of the columns does for rows that lack some.

A probability that was divided by a temperature T is raised to the power T to have it as it was before: both are powers
of the same numbers, made to sum to 1 (what is added to logits afterwards, such as a prior, is raised with them). So
every judgment is seen three times: without a temperature, with the one that was fitted on all rows, and with that of
the columns that are there. Calibration errors are over 15 bins of equal width (Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017, equation 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from polysense.core.json import JsonValue, json_object
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.wording import is_told
from polysense.evaluation.bootstrap import Interval, interval, multiplicities
from polysense.evaluation.contribution_result import FEWEST_ROWS
from polysense.evaluation.metrics.base import ratio

__all__ = [
    "SubsetJudgments", "SubsetTemperature", "Temperatures", "calibration_error", "measure_temperatures", "retempered",
]  # fmt: skip

_BINS = 15
_LEAST = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class SubsetJudgments:
    """What is predicted of rows that have some columns and no others.

    Attributes:
        columns: Those that they have.
        temperature: By which their logits were divided.
        probabilities: As they are predicted.
        truth: The true class of each judgment.
        rows: Each judgment's row, among all rows that are measured.
    """

    columns: tuple[str, ...]
    temperature: float
    probabilities: Float[np.ndarray, "judgments classes"]
    truth: Int[np.ndarray, " judgments"]
    rows: Int[np.ndarray, " judgments"]


@dataclass(frozen=True, kw_only=True)
class SubsetTemperature:
    """A subset of the columns.

    Attributes:
        columns: Its names.
        num: Judgments.
        temperature: Its own.
        error_without: The calibration error without any temperature.
        error_with_common: With the temperature of all rows.
        error: With its own.
        loss_without: The log loss, in nats, without any.
        loss_with_common: Likewise.
        loss: Likewise.
    """

    columns: tuple[str, ...]
    num: int
    temperature: float
    error_without: float
    error_with_common: float
    error: float
    loss_without: float
    loss_with_common: float
    loss: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Temperatures(AuditPart):
    """The temperatures and what they do.

    Attributes:
        split: The rows' name.
        num_rows: Rows that were measured.
        columns: Of the model.
        common: The temperature of rows of which no subset has its own.
        subsets: All columns first, then those that lack fewest.
        gain: The mean over subsets that lack columns of the log loss with the common temperature less that with their
            own, in nats; NaN where there are none.
        confidence: Of the interval.
    """

    name: ClassVar[str] = "temperatures"
    title: ClassVar[str] = "Temperatures by the columns that are there"
    template: ClassVar[str] = "audit_temperatures.html.j2"

    split: str
    num_rows: int
    columns: tuple[str, ...]
    common: float
    subsets: tuple[SubsetTemperature, ...]
    gain: Interval
    confidence: float = 0.95

    def named(self, subset: SubsetTemperature) -> str:
        """A subset in words: "all", "all but sound", "photo, sound"."""
        missing = [name for name in self.columns if name not in subset.columns]
        if not missing:
            return "all"
        if len(missing) < len(subset.columns):
            return f"all but {', '.join(missing)}"
        return ", ".join(subset.columns)

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "num_rows": self.num_rows,
            "temperature": self.common,
            "log_loss_gain": dict(self.gain.as_json()),
            "subsets": [json_object(each) for each in self.subsets],
        }

    def findings(self) -> Sequence[str]:
        lacking = [each for each in self.subsets if len(each.columns) < len(self.columns)]
        if self.num_rows < FEWEST_ROWS or not lacking or not is_told(self.gain):
            return []
        before, after = (
            sum(errors) / len(lacking)
            for errors in ([each.error_with_common for each in lacking], [each.error for each in lacking])
        )
        verb = "lower" if self.gain.value > 0 else "raise"
        over = f" on average over {len(lacking)} subsets of the columns" if len(lacking) > 1 else ""
        low, high = sorted((abs(self.gain.low), abs(self.gain.high)))
        return [
            f"Where columns are missing, temperatures of their own {verb} the log loss by {abs(self.gain.value):.3f} "
            f"nats ({low:.3f} to {high:.3f}){over}; the calibration error is {after:.3f} in place of {before:.3f}."
        ]


def retempered(probabilities: Float[np.ndarray, "rows classes"], power: float) -> Float[np.ndarray, "rows classes"]:
    """Probabilities raised to a power, made to sum to 1: a softmax whose logits are multiplied by it."""
    if power == 1:
        return probabilities
    logs = power * np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: np.ndarray = shares / shares.sum(axis=1, keepdims=True)
    return result


def calibration_error(probabilities: Float[np.ndarray, "rows classes"], truth: Int[np.ndarray, " rows"]) -> float:
    """The expected calibration error of the most probable class, over 15 bins of equal width."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / max(len(truth), 1))


def measure_temperatures(
    target: str,
    subsets: Sequence[SubsetJudgments],
    *,
    split: str,
    num_rows: int,
    columns: Sequence[str],
    common: float,
    clusters: np.ndarray | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Temperatures:
    """The part, from the judgments of each subset.

    Args:
        target: The target's name.
        subsets: At least one.
        split: The rows' name.
        num_rows: Rows that were measured.
        columns: Of the model.
        common: The temperature of rows of which no subset has its own.
        clusters: int64 [num_rows], their groups; None: rows are on their own.
        bootstrap: Resamples for the interval.
        confidence: Of the interval.
        seed: Of the resamples.
    """
    results = []
    gains, counts = list[np.ndarray](), list[np.ndarray]()
    for each in sorted(subsets, key=lambda one: -len(one.columns)):
        own = each.probabilities.astype(np.float64)
        without, with_common = retempered(own, each.temperature), retempered(own, each.temperature / common)
        losses = {name: _nats(one, each.truth) for name, one in (("", own), ("0", without), ("1", with_common))}
        results.append(
            SubsetTemperature(
                columns=each.columns,
                num=len(each.truth),
                temperature=each.temperature,
                error_without=calibration_error(without, each.truth),
                error_with_common=calibration_error(with_common, each.truth),
                error=calibration_error(own, each.truth),
                loss_without=float(losses["0"].mean()),
                loss_with_common=float(losses["1"].mean()),
                loss=float(losses[""].mean()),
            )
        )
        if len(each.columns) < len(columns):
            gains.append(np.bincount(each.rows, weights=losses["1"] - losses[""], minlength=num_rows))
            counts.append(np.bincount(each.rows, minlength=num_rows).astype(np.float64))
    gain = Interval(float("nan"))
    if gains:
        summed, counted = np.stack(gains, axis=1), np.stack(counts, axis=1)

        def measured(weights: np.ndarray) -> np.ndarray:
            result: np.ndarray = ratio(weights @ summed, weights @ counted).mean(axis=1)
            return result

        drawn = [measured(weights) for weights in multiplicities(num_rows, bootstrap, seed, clusters=clusters)]
        value = float(measured(np.ones((1, num_rows)))[0])
        gain = interval(value, np.concatenate([np.zeros(0), *drawn]), confidence)
    return Temperatures(
        target=target,
        split=split,
        num_rows=num_rows,
        columns=tuple(columns),
        common=common,
        subsets=tuple(results),
        gain=gain,
        confidence=confidence,
    )


def _nats(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    result: np.ndarray = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _LEAST))
    return result
