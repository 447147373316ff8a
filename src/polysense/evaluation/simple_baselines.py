"""A model beside simple ones on the same rows: linear models, boosting and a forest over feature vectors.

Whether it is better is read from the difference, row by row on the same resamples: two intervals that overlap say
little, because hard rows are hard for both. It is compared with the best of the simple models on these very rows, which
favors that one a little; so "better" holds all the more, and "worse" a little less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polysense.core.json import json_object
from polysense.core.metric import Metric, Statistics
from polysense.core.schema import Target
from polysense.evaluation.bootstrap import Interval, difference_interval, metric_interval, multiplicities
from polysense.evaluation.contribution_result import FEWEST_ROWS
from polysense.evaluation.evaluator import Evaluation, TargetScorer
from polysense.evaluation.significance import Outcome
from polysense.evaluation.target_metrics import headline_metric

__all__ = ["AVERAGE", "BaselineScore", "SimpleModel", "TargetBaselines", "compare_with_simple", "outcome_of"]

AVERAGE = "average"
"""The mean of the simple models' predictions."""


@dataclass(frozen=True, kw_only=True)
class SimpleModel:
    """One of the simple models.

    Attributes:
        name: Among them.
        columns: What it reads.
        out_of_fold: The headline metric over training rows that it was not fitted on; NaN where there is none.
        num_training: Rows that it was fitted on.
        weight: What it counts in the model's own ensemble; None where it is none of its experts.
    """

    name: str
    columns: tuple[str, ...]
    out_of_fold: float = math.nan
    num_training: int = 0
    weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class BaselineScore:
    """A simple model on the evaluated rows.

    Attributes:
        model: Which one.
        value: The headline metric.
        difference: The trained model's less this one's, paired.
        outcome: Whether the trained model is better.
    """

    model: SimpleModel
    value: Interval
    difference: Interval
    outcome: Outcome

    def as_json(self) -> dict[str, object]:
        """For metrics.json."""
        plain = json_object(self.model)
        return {**plain, **self.value.as_json(), "difference": self.difference.as_json(), "outcome": self.outcome}


@dataclass(frozen=True, kw_only=True)
class TargetBaselines:
    """All simple models of one target.

    Attributes:
        target: The target.
        metric: What they are compared by.
        model: The trained model's value.
        num_rows: Rows that they are scored on.
        scores: Of each, in order.
        notes: How they were fitted, in sentences.
        left_out: What there is none of, and why.
        chose: Whether these rows also chose something of the trained model: the epoch, its experts' weights.
    """

    target: str
    metric: Metric
    model: Interval
    num_rows: int
    scores: tuple[BaselineScore, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    chose: bool = False

    @property
    def best(self) -> BaselineScore | None:
        """The best one on these rows; None where the metric has no value."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        known = [score for score in self.scores if math.isfinite(score.value.value)]
        return max(known, key=lambda score: sign * score.value.value, default=None)

    def alone(self) -> dict[str, Interval]:
        """By column the value of the best of those that read it and nothing else."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        best: dict[str, Interval] = {}
        for score in self.scores:
            if len(score.model.columns) != 1 or not score.value.has_bounds:
                continue
            (column,), value = score.model.columns, score.value
            if column not in best or sign * value.value > sign * best[column].value:
                best[column] = value
        return best

    def sentence(self) -> str:
        """Whether the model is better than the best of them, in plain words."""
        best, name = self.best, self.metric.name.replace("_", " ")
        if best is None or not math.isfinite(self.model.value):
            return f"{self.target}: no comparison with simple baselines: {name} has no value on these rows."
        which = f"the best of {len(self.scores)} simple baselines" if len(self.scores) > 1 else "a simple baseline"
        verdict = {
            Outcome.BETTER: f"the model is better than {which}",
            Outcome.NONE: f"the model is not measurably different from {which}",
            Outcome.WORSE: f"the model is worse than {which}",
            Outcome.NO_CLAIM: f"no claim can be made beside {which}",
        }[best.outcome]
        if self.num_rows < FEWEST_ROWS:
            rows = "row" if self.num_rows == 1 else "rows"
            return (
                f"{self.target}: on {self.num_rows} {rows} nothing can be said beside simple baselines; {FEWEST_ROWS} "
                "are needed."
            )
        low, high = _signed(best.difference.low), _signed(best.difference.high)
        bounds = f" (95% CI {low} to {high}, paired)" if best.difference.has_bounds else ""
        caveat = " These rows also chose the model's epoch and weights, which favors it." if self.chose else ""
        return (
            f"{self.target}: {verdict} ({best.model.name}): {name} {self.model.value:.3f} against "
            f"{best.value.value:.3f}, {_signed(best.difference.value)}{bounds}.{caveat}"
        )

    def as_json(self) -> dict[str, object]:
        """For metrics.json."""
        best = self.best
        return {
            "metric": self.metric.name,
            "num_rows": self.num_rows,
            "model": self.model.as_json(),
            "best": None if best is None else best.model.name,
            "outcome": Outcome.NO_CLAIM if best is None else best.outcome,
            "sentence": self.sentence(),
            "baselines": [score.as_json() for score in self.scores],
            "notes": list(self.notes),
            "left_out": list(self.left_out),
        }


def compare_with_simple(
    evaluation: Evaluation,
    target: Target,
    models: Sequence[SimpleModel],
    statistics: Mapping[str, Statistics],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    notes: Sequence[str] = (),
    left_out: Sequence[str] = (),
    chose: bool = False,
) -> TargetBaselines:
    """Scores simple models beside a trained one.

    Args:
        evaluation: Of the trained model.
        target: What is predicted.
        models: The simple ones.
        statistics: By their names, on the evaluation's rows, in their order.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples; of the evaluation, so that its interval is of the same.
        notes: See `TargetBaselines`.
        left_out: Likewise.
        chose: Likewise.
    """
    metric, own = headline_metric(target), evaluation.statistics[target.name]
    counted = int(np.count_nonzero(own["present"]))
    clusters = None if evaluation.clusters is None else evaluation.clusters[own["present"]]
    values: dict[str, dict[str, np.ndarray]] = {name: {metric.name: np.full(1, np.nan)} for name in ("", *statistics)}
    resampled: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] for name in values}
    if counted:
        scorers = {"": TargetScorer(target, own)}
        scorers |= {name: TargetScorer(target, other) for name, other in statistics.items()}
        values = {name: score(np.ones((1, counted))) for name, score in scorers.items()}
        # Sorting scores anew for each resample takes most of the time, and few headlines need it.
        plain = {name: score(np.ones((1, counted)), rankings=False) for name, score in scorers.items()}
        rankings = any(
            np.isnan(one.get(metric.name, np.full(1, np.nan))[0]) != np.isnan(values[name][metric.name][0])
            for name, one in plain.items()
        )
        for weights in multiplicities(counted, bootstrap, seed, clusters=clusters):
            for name, score in scorers.items():
                resampled[name].append(score(weights, rankings=rankings)[metric.name])
    every = {name: np.concatenate(parts) for name, parts in resampled.items()}

    def measured(name: str) -> Interval:
        value = float(values[name][metric.name][0])
        return metric_interval(metric, value, every[name], evaluation.confidence, counted, clusters)

    scores = []
    for model in models:
        own, other = values[""], values[model.name]
        gain, moved = float(own[metric.name][0] - other[metric.name][0]), every[""] - every[model.name]
        difference = difference_interval(
            metric, gain, moved, evaluation.confidence, counted, clusters, same=are_same_answers(own, other)
        )
        outcome = outcome_of(difference, metric, counted)
        scores.append(BaselineScore(model=model, value=measured(model.name), difference=difference, outcome=outcome))
    return TargetBaselines(
        target=target.name,
        metric=metric,
        model=measured(""),
        num_rows=counted,
        scores=tuple(scores),
        notes=tuple(notes),
        left_out=tuple(left_out),
        chose=chose,
    )


def are_same_answers(values: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> bool:
    """Whether no metric of two models on the same rows differs, not even the finest: then they are one model."""
    return all(
        np.allclose(one, others[name], rtol=1e-6, atol=1e-9, equal_nan=True)
        for name, one in values.items()
        if name in others
    )


def outcome_of(difference: Interval, metric: Metric, num_rows: int) -> Outcome:
    """What may be said of a model whose metric differs by so much from another's."""
    if num_rows < FEWEST_ROWS or not difference.has_bounds:
        return Outcome.NO_CLAIM
    if difference.low > 0:
        return Outcome.BETTER if metric.higher_is_better else Outcome.WORSE
    if difference.high < 0:
        return Outcome.WORSE if metric.higher_is_better else Outcome.BETTER
    return Outcome.NONE


def _signed(value: float) -> str:
    """A difference as the tables show it."""
    digits = f"{value:+.3f}"
    return "0.000" if digits in ("+0.000", "-0.000") else digits.replace("-", "−")
