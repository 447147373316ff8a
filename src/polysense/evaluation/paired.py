"""Two models on the same rows: each metric's difference, paired row by row on the same resamples.

Each model's answers are scored as its own target has them, for two that were trained apart may know other classes or
write with other tokens (then what is counted by token is left out). Rows count that both can be scored on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysense.core.metric import Metric
from polysense.core.schema import Target
from polysense.evaluation.bootstrap import Interval, difference_interval, multiplicities
from polysense.evaluation.evaluator import Evaluation, TargetScorer
from polysense.evaluation.significance import Outcome
from polysense.evaluation.simple_baselines import are_same_answers, outcome_of
from polysense.evaluation.target_metrics import headline_metric, reported_metrics

__all__ = ["PairedMetric", "PairedScores", "paired_scores"]


@dataclass(frozen=True, kw_only=True)
class PairedMetric:
    """One metric of both models.

    Attributes:
        metric: Which one.
        value: The model's.
        other: The other model's.
        difference: The first less the second.
        outcome: What may be said of the model beside the other.
    """

    metric: Metric
    value: float
    other: float
    difference: Interval
    outcome: Outcome

    def as_json(self) -> dict[str, object]:
        """For a script."""
        return {
            "value": self.value, "other": self.other, "difference": self.difference.as_json(), "outcome": self.outcome,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PairedScores:
    """A model beside another one.

    Attributes:
        target: What both predict.
        other: What the other is called.
        num_rows: Rows that both were scored on.
        metrics: Those that both have, the headline first.
        confidence: Of the intervals.
    """

    target: str
    other: str
    num_rows: int
    metrics: tuple[PairedMetric, ...]
    confidence: float

    def as_json(self) -> dict[str, object]:
        """For a script."""
        return {
            "target": self.target, "other": self.other, "num_rows": self.num_rows,
            "metrics": {each.metric.name: each.as_json() for each in self.metrics},
        }  # fmt: skip


def paired_scores(
    evaluation: Evaluation, other: Evaluation, target: Target, name: str, *, bootstrap: int = 1000, seed: int = 0
) -> PairedScores:
    """Both models' scores and their differences.

    Args:
        evaluation: Of the model.
        other: Of the other one, on the same rows, in the same order.
        target: Of the model; the other one has a target of that name and task.
        name: What the other is called.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
    """
    assert np.array_equal(evaluation.rows, other.rows), "the models were scored on other rows"
    theirs = next(each for each in other.targets if each.name == target.name)
    own_rows, other_rows = evaluation.statistics[target.name], other.statistics[target.name]
    both = own_rows["present"] & other_rows["present"]
    counted = int(np.count_nonzero(both))
    if not counted:
        return PairedScores(target=target.name, other=name, num_rows=0, metrics=(), confidence=evaluation.confidence)
    scorers = [
        TargetScorer(target, {**own_rows, "present": both}),
        TargetScorer(theirs, {**other_rows, "present": both}),
    ]
    clusters = None if evaluation.clusters is None else evaluation.clusters[both]
    values, others = (scorer(np.ones((1, counted))) for scorer in scorers)
    headline = headline_metric(target)
    known = [headline, *(each for each in reported_metrics(target, own_rows) if each.name != headline.name)]
    shared = [
        metric
        for metric in known
        if (target == theirs or not metric.depends_on_fit)
        and all(np.isfinite(part.get(metric.name, np.full(1, np.nan))[0]) for part in (values, others))
    ]
    resampled = [
        tuple(scorer(weights) for scorer in scorers)
        for weights in multiplicities(counted, bootstrap, seed, clusters=clusters)
    ]
    same = are_same_answers(values, others)
    metrics = []
    for metric in shared:
        value, against = float(values[metric.name][0]), float(others[metric.name][0])
        drawn = [own[metric.name] - their[metric.name] for own, their in resampled]
        moved = np.concatenate([np.zeros(0), *drawn])
        difference = difference_interval(
            metric, value - against, moved, evaluation.confidence, counted, clusters, same=same
        )
        outcome = outcome_of(difference, metric, counted)
        metrics.append(PairedMetric(metric=metric, value=value, other=against, difference=difference, outcome=outcome))
    return PairedScores(
        target=target.name, other=name, num_rows=counted, metrics=tuple(metrics), confidence=evaluation.confidence
    )
