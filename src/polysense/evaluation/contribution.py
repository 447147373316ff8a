"""What each column contributed to a model's predictions.

The model predicts every row from subsets of its columns, the others masked out, absent as in a missing cell. A column's
contribution is its Shapley value: of the score that people read (accuracy, per-row F1, R2) and of the log loss, which
also sees a probability move that changes no decision. Both are means over rows, so their intervals come from resampling
rows, all subsets together: differences are paired.

What is measured is the task's to say (`TaskSpec.contribution`).

Two choices to know of. With no column at all the prediction is the training labels' shares (or mean), not what the
model says of an empty row, which it may have seen rarely: else every column would earn the model's embarrassment there.
And what is measured is this model's use of a column: a model that never saw missing cells in training is out of its
depth on subsets, and its contributions are then less sure than their intervals say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist

import numpy as np

from polysense.core.batch import Batch
from polysense.core.metric import Statistics
from polysense.core.prediction import Prediction
from polysense.core.random import permutation
from polysense.core.registry import task
from polysense.core.schema import Column, Target
from polysense.core.task_spec import Contribution
from polysense.core.unsupported import Unsupported
from polysense.evaluation.bootstrap import Interval, interval, multiplicities
from polysense.evaluation.contribution_result import (
    FEWEST_ROWS,
    ColumnContribution,
    Contributions,
    TargetContributions,
    Verdict,
)
from polysense.evaluation.evaluator import batch_statistics
from polysense.evaluation.shapley import Coalitions, coalitions

__all__ = ["contribution_rows", "contributions"]


def contribution_rows(num_rows: int, *, max_rows: int = 2000, seed: int = 0) -> np.ndarray:
    """A random sample of positions to measure on, ascending, the same for the same seed; int64 [rows].

    A table is often sorted by label, so the first rows would not do.
    """
    return np.sort(permutation(num_rows, seed, "contribution rows")[:max_rows])


def contributions(
    subset_predictions: Callable[[Batch, list[frozenset[str]]], Sequence[Mapping[str, Prediction]]],
    batches: Iterable[Batch],
    targets: Sequence[Target],
    columns: Sequence[Column],
    *,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    max_subsets: int = 128,
    num_available: int | None = None,
    clusters: np.ndarray | None = None,
) -> Contributions:
    """Measures every column's contribution to every target.

    Args:
        subset_predictions: Predicts a batch once per subset of columns, all others absent. The empty set is asked for
            only where a target is a text. A model encodes the batch once and reads it once per subset.
        batches: The rows to measure on, with targets; choose them with `contribution_rows`.
        targets: The outputs.
        columns: The inputs.
        bootstrap: Resamples for the intervals; 0 gives values only, and verdicts only by their sign.
        confidence: Of the intervals.
        seed: Of the resamples and, above 6 columns, of the orders.
        max_subsets: About how many subsets to try above 6 columns; up to 6 all of them are (64 at most).
        num_available: Rows that the batches were chosen from; as many as there are by default.
        clusters: int64, by a row's number in the batches its group, by which resamples are drawn; None: rows are on
            their own.
    """
    plan = coalitions([column.name for column in columns], max_subsets=max_subsets, seed=seed)
    ways = {target.name: _way(target) for target in targets}
    # Without any column most tasks have a prediction of their own.
    asks_for_nothing = not columns or not all(way.is_prior_without_columns for way in ways.values())
    requested = [subset for subset in plan.subsets if subset or asks_for_nothing]
    values: dict[str, list[np.ndarray]] = {target.name: [] for target in targets}
    truths: dict[str, list[np.ndarray]] = {target.name: [] for target in targets}
    presences: dict[str, list[np.ndarray]] = {target.name: [] for target in targets}
    groups: dict[str, list[np.ndarray]] = {target.name: [] for target in targets}
    num_observed = 0
    for batch in batches:
        num_observed += int((batch.rows >= 0).sum())
        predictions = subset_predictions(batch, requested)
        for target in targets:
            if target.name not in batch.truths:
                continue
            way = ways[target.name]
            every = [batch_statistics(target, batch, [by_target[target.name]]) for by_target in predictions]
            # The empty set comes first in the plan.
            if way.is_prior_without_columns:
                # A baseline puts its own prediction into the statistics of any other.
                every = [_baseline(target)(every[0]), *every[asks_for_nothing:]]
            counted = every[0]["present"]
            every = [{name: array[counted] for name, array in one.items()} for one in every]
            values[target.name].append(np.stack([way.row_values(target, one) for one in every], axis=1))
            truths[target.name].append(every[0].get("truth", counted[counted]))
            presence = batch.presence([column.name for column in columns])[batch.rows >= 0]
            presences[target.name].append(presence.cpu().numpy()[counted])
            numbers = batch.rows[batch.rows >= 0].cpu().numpy()[counted]
            groups[target.name].append(numbers if clusters is None else clusters[numbers])
    results = []
    for target in targets:
        measured = _measured(target, values[target.name], truths[target.name], len(plan.subsets))
        present = [np.zeros((0, len(columns)), dtype=bool), *presences[target.name]]
        num_present = np.concatenate(present).sum(axis=0).tolist()
        own = None if clusters is None else np.concatenate([np.zeros(0, dtype=np.int64), *groups[target.name]])
        results.append(_contributions(target, columns, plan, measured, num_present, bootstrap, confidence, seed, own))
    return Contributions(
        targets=tuple(results),
        num_available=num_observed if num_available is None else num_available,
        confidence=confidence,
    )


def _way(target: Target) -> Contribution[Target]:
    contribution = task(target.task).contribution
    assert not isinstance(contribution, Unsupported), f"{target.name}: {contribution}"
    return contribution


def _baseline(target: Target) -> Callable[[Statistics], Statistics]:
    baselines = task(target.task).baselines
    assert not isinstance(baselines, Unsupported), f"{target.name}: {baselines}"
    return next(iter(baselines(target).values()))


def _measured(target: Target, parts: list[np.ndarray], truths: list[np.ndarray], num_subsets: int) -> np.ndarray:
    """Every row's value of every measure for every subset; float64 [measures, rows, subsets]."""
    way = _way(target)
    if not parts:
        return np.zeros((len(way.measures), 0, num_subsets))
    return way.measured(target, np.concatenate(parts), np.concatenate(truths))


def _contributions(
    target: Target,
    columns: Sequence[Column],
    plan: Coalitions,
    measured: np.ndarray,
    num_present: list[int],
    bootstrap: int,
    confidence: float,
    seed: int,
    clusters: np.ndarray | None,
) -> TargetContributions:
    """Turns rows' values into intervals and verdicts."""
    measures = _way(target).measures
    num_rows = measured.shape[1]
    means, resampled = {}, {}
    for i, measure in enumerate(measures):
        means[measure] = measured[i].mean(axis=0) if num_rows else np.full(len(plan.subsets), np.nan)
        # The same draws for every measure: they are a pure function of the seed.
        parts = [
            weights @ measured[i] / weights.sum(axis=1, keepdims=True)
            for weights in multiplicities(num_rows, bootstrap, seed, clusters=clusters)
        ]
        resampled[measure] = np.concatenate([np.zeros((0, len(plan.subsets))), *parts])
    index = {subset: i for i, subset in enumerate(plan.subsets)}

    def of(combination: np.ndarray) -> dict[str, Interval]:
        return {
            measure: interval(float(means[measure] @ combination), resampled[measure] @ combination, confidence)
            for measure in measures
        }

    def value(subset: frozenset[str]) -> np.ndarray:
        unit: np.ndarray = np.eye(len(plan.subsets))[index[subset]]
        return unit

    everything, nothing = frozenset(column.name for column in columns), frozenset[str]()
    results = []
    for m, column in enumerate(columns):
        only_this, rest = frozenset({column.name}), everything - {column.name}
        shapley = of(plan.coefficients[:, m].mean(axis=0))
        if not plan.exact:
            samples = {measure: plan.coefficients[:, m] @ means[measure] for measure in measures}
            shapley = {measure: _widened(shapley[measure], samples[measure], confidence) for measure in measures}
        gain_of_only_this, drop = of(value(only_this) - value(nothing)), of(value(everything) - value(rest))
        stands_in_for: list[str] = []
        if gain_of_only_this[measures[0]].low > 0 and not drop[measures[0]].low > 0:
            for other in sorted(rest):
                if rest - {other} in index:
                    gain = of(value(everything - {other}) - value(rest - {other}))[measures[0]]
                    if gain.low > 0:
                        stands_in_for.append(other)
        results.append(
            ColumnContribution(
                name=column.name,
                modality=column.modality,
                num_present=num_present[m],
                shapley=shapley,
                only_this=of(value(only_this)),
                gain_of_only_this=gain_of_only_this,
                all_but_this=of(value(rest)),
                drop=drop,
                verdict=_verdict([(shapley[measure], drop[measure]) for measure in measures])
                if num_rows >= FEWEST_ROWS
                else Verdict.NONE,
                stands_in_for=tuple(stands_in_for),
            )
        )
    order = {column.name: i for i, column in enumerate(columns)}
    named = [(tuple(sorted(subset, key=order.__getitem__)), of(value(subset))) for subset in plan.subsets]
    return TargetContributions(
        target=target.name,
        measures=measures,
        num_rows=num_rows,
        exact=plan.exact,
        nothing=of(value(nothing)),
        full=of(value(everything)),
        columns=tuple(results),
        subsets=tuple(sorted(named, key=lambda entry: (len(entry[0]), [order[name] for name in entry[0]]))),
    )


def _widened(estimate: Interval, samples: np.ndarray, confidence: float) -> Interval:
    """Adds the noise of having drawn only some orders, by the spread between pairs of them."""
    if not estimate.has_bounds:
        return estimate
    error = float(samples.std(ddof=1)) / math.sqrt(len(samples)) * NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = math.hypot(estimate.value - estimate.low, error), math.hypot(estimate.high - estimate.value, error)
    return Interval(estimate.value, estimate.value - low, estimate.value + high)


def _verdict(effects: Sequence[tuple[Interval, Interval]]) -> Verdict:
    """Judges a column by (Shapley value, loss by removal) in the score, then in the log loss; see Verdict."""
    (share, drop), *finer = effects
    if _sign(share) > 0:
        return Verdict.HELPS if _sign(drop) >= 0 else Verdict.NONE
    if _sign(share) < 0:
        return Verdict.HURTS if drop.value < 0 else Verdict.NONE
    for fine_share, fine_drop in finer:
        sign = _sign(fine_share)
        if sign and _sign(fine_drop) == sign and _sign(drop) != -sign:
            return Verdict.HELPS if sign > 0 else Verdict.HURTS
    return Verdict.NONE


def _sign(effect: Interval) -> int:
    """1 or -1 where the interval (without one, the value) lies on one side of 0, else 0."""
    low, high = (effect.low, effect.high) if effect.has_bounds else (effect.value, effect.value)
    return int(low > 0) - int(high < 0)
