"""What a model must beat: knowing only the training labels, and averaging models that each see one column.

A number such as "91% accurate" says nothing where one class has 90% of the rows. The baselines are scored by the same
function on the same rows as the model, so their intervals can stand beside its own. The ensemble of unimodal models is
the harder one: methods that fuse "struggle to surpass even simple baselines, such as ensembles" (arXiv 2411.07335).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polysense.core.metric import Statistics
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.evaluation.evaluator import Evaluation, score

__all__ = [
    "CONSTANT",
    "SHUFFLED",
    "UNIMODAL_ENSEMBLE",
    "baseline_name",
    "baselines_json",
    "column_of_unimodal",
    "constant_baseline",
    "ensemble_baseline",
    "unimodal_name",
]

CONSTANT = "constant"
"""The key of `constant_baseline` among an evaluation's baselines; what it is depends on the task (`baseline_name`)."""

UNIMODAL_ENSEMBLE = "Unimodal ensemble"
"""The mean of the predictions of models that each see one column."""

SHUFFLED = "shuffled inputs"
"""The model itself, given other rows' inputs: of who generates as well from them nothing is owed to the inputs."""

_ONLY = " only (trained separately)"


def baseline_name(name: str, target: Target) -> str:
    """What a baseline is of a target: the constant one of a class is the majority class, of a search it is chance."""
    baselines = task(target.task).baselines
    if name != CONSTANT or isinstance(baselines, Unsupported):
        return name
    return next(iter(baselines(target)), name)


def baselines_json(baselines: Mapping[str, Evaluation]) -> dict[str, dict[str, object]]:
    """{baseline: {head: {metric: ...}}}; a constant baseline stands under the name that it has for a head's task."""
    result: dict[str, dict[str, object]] = {}
    for key, evaluation in baselines.items():
        metrics = evaluation.as_metrics_json()
        for target in evaluation.targets:
            result.setdefault(baseline_name(key, target), {})[target.name] = metrics[target.name]
    return result


def unimodal_name(column: str) -> str:
    """What a model of one column is called, here and in baselines.json."""
    return f"{column}{_ONLY}"


def column_of_unimodal(name: str) -> str | None:
    """The column of a baseline that `unimodal_name` has named; None of another baseline."""
    column = name.removesuffix(_ONLY)
    return column if column != name else None


def constant_baseline(evaluation: Evaluation, *, bootstrap: int = 1000, seed: int = 0) -> Evaluation:
    """Each task's first baseline (the majority class, the mean, the most frequent text), on an evaluation's rows.

    Args:
        evaluation: Of the model.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
    """
    statistics: dict[str, Statistics] = {}
    refusals: dict[str, str] = {}
    for target in evaluation.targets:
        own, baselines = evaluation.statistics[target.name], task(target.task).baselines
        if isinstance(baselines, Unsupported):
            refusals[target.name] = baselines.reason
        predictor = None if isinstance(baselines, Unsupported) else next(iter(baselines(target).values()), None)
        statistics[target.name] = own if predictor is None or not own["present"].any() else predictor(own)
    return _scored(evaluation, statistics, refusals, bootstrap, seed)


def ensemble_baseline(evaluations: Sequence[Evaluation], *, bootstrap: int = 1000, seed: int = 0) -> Evaluation:
    """Several models' predictions as one, each model counting the same, as their tasks average them.

    Args:
        evaluations: Of models of the same targets on the same rows, for example one per column.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
    """
    first = evaluations[0]
    assert all(np.array_equal(first.rows, other.rows) for other in evaluations), "the models saw different rows"
    weights = np.full((first.num_rows, len(evaluations)), 1 / len(evaluations))
    statistics: dict[str, Statistics] = {}
    refusals: dict[str, str] = {}
    for target in first.targets:
        average = task(target.task).average
        own = [evaluation.statistics[target.name] for evaluation in evaluations]
        if isinstance(average, Unsupported):
            statistics[target.name], refusals[target.name] = own[0], average.reason
        else:
            statistics[target.name] = average(target, own, weights)
    return _scored(first, statistics, refusals, bootstrap, seed)


def _scored(
    like: Evaluation, statistics: Mapping[str, Statistics], refusals: Mapping[str, str], bootstrap: int, seed: int
) -> Evaluation:
    """Other predictions of an evaluation's rows, scored like it."""
    return score(
        like.targets,
        like.rows,
        statistics,
        refusals=refusals,
        bootstrap=bootstrap,
        confidence=like.confidence,
        seed=seed,
        clusters=like.clusters,
    )
