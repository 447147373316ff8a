"""What each column contributed to a model's predictions.

The model predicts every row from subsets of its columns, the others masked out, absent as in a missing cell. Three
things are read from that: what is lost when one column is removed, which the verdict speaks of; what the column gives
alone; and its Shapley value, the fair share of all that the columns give together. Each is of the score that people
read (accuracy, per-row F1, R2) and of the log loss, which also sees a probability move that changes no decision. All
are means over rows, so their intervals come from resampling rows, all subsets together: differences are paired. The
intervals of one quantity hold for all columns at once, so that one of twenty columns of noise does not help by chance.

What is measured is the task's to say (`TaskSpec.contribution`).

Three choices to know of. With no column at all the prediction is the training labels' shares (or mean), not what the
model says of an empty row, which it may have seen rarely: else every column would earn the model's embarrassment there.
In Shapley values no other subset counts as worse than that one: of many columns a model has seen few small subsets, and
what it makes of them would be put down to the columns that are missing from them. And what is measured is this model's
use of a column; `trained_alone` says what another model makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
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
from polysense.evaluation.bootstrap import Interval, groups_to_resample
from polysense.evaluation.contribution_result import (
    FEWEST_ROWS,
    Addition,
    ColumnContribution,
    Contributions,
    Interaction,
    TargetContributions,
    Verdict,
    bounds,
    rows_to_tell,
    verdict_of,
)
from polysense.evaluation.evaluator import batch_statistics
from polysense.evaluation.players import Player
from polysense.evaluation.shapley import Coalitions, coalitions
from polysense.evaluation.simple_baselines import TargetBaselines
from polysense.evaluation.variant_scores import VariantScores

__all__ = ["contribution_of", "contribution_rows", "contributions"]


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
    trained_alone: Mapping[str, TargetBaselines] | None = None,
    players: Sequence[Player] | None = None,
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
        trained_alone: By target simple models, some of them of one column alone; they are shown where they are scored
            by what contributions are measured by.
        players: The columns, some of them in groups that are judged together; None: each one by itself.
    """
    clusters = groups_to_resample(clusters)
    names = [column.name for column in columns]
    players = [Player(name=name, columns=(name,)) for name in names] if players is None else players
    members, place = {player.name: player.columns for player in players}, {name: i for i, name in enumerate(names)}
    plan = coalitions(list(members), max_subsets=max_subsets, seed=seed)
    ways = {target.name: contribution_of(target) for target in targets}
    # Without any column most tasks have a prediction of their own.
    asks_for_nothing = not columns or not all(way.is_prior_without_columns for way in ways.values())
    requested = [
        frozenset(column for player in subset for column in members[player])
        for subset in plan.subsets
        if subset or asks_for_nothing
    ]
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
            presences[target.name].append(batch.presence(names)[batch.rows >= 0].cpu().numpy()[counted])
            numbers = batch.rows[batch.rows >= 0].cpu().numpy()[counted]
            groups[target.name].append(numbers if clusters is None else clusters[numbers])
    results = []
    for target in targets:
        measured = _measured(target, values[target.name], truths[target.name], len(plan.subsets))
        present = np.concatenate([np.zeros((0, len(names)), dtype=bool), *presences[target.name]])
        # A group is there as far as any of its columns is.
        num_present = [int(present[:, [place[name] for name in each]].any(axis=1).sum()) for each in members.values()]
        own = None if clusters is None else np.concatenate([np.zeros(0, dtype=np.int64), *groups[target.name]])
        simple = (trained_alone or {}).get(target.name)
        alone = {} if simple is None or simple.metric.name != ways[target.name].measures[0] else simple.alone()
        results.append(
            _contributions(
                target,
                _described(players, columns),
                plan,
                measured,
                num_present,
                bootstrap,
                confidence,
                seed,
                own,
                alone,
            )
        )
    return Contributions(
        targets=tuple(results),
        num_available=num_observed if num_available is None else num_available,
        confidence=confidence,
    )


def contribution_of(target: Target) -> Contribution[Target]:
    """How contributions to a target are measured, where its task says so."""
    contribution = task(target.task).contribution
    assert not isinstance(contribution, Unsupported), f"{target.name}: {contribution}"
    return contribution


def _baseline(target: Target) -> Callable[[Statistics], Statistics]:
    baselines = task(target.task).baselines
    assert not isinstance(baselines, Unsupported), f"{target.name}: {baselines}"
    return next(iter(baselines(target).values()))


def _measured(target: Target, parts: list[np.ndarray], truths: list[np.ndarray], num_subsets: int) -> np.ndarray:
    """Every row's value of every measure for every subset; float64 [measures, rows, subsets]."""
    way = contribution_of(target)
    if not parts:
        return np.zeros((len(way.measures), 0, num_subsets))
    return way.measured(target, np.concatenate(parts), np.concatenate(truths))


def _described(players: Sequence[Player], columns: Sequence[Column]) -> list[tuple[Player, dict[str, str]]]:
    """Each player, and by column what its cells are."""
    modalities = {column.name: column.modality for column in columns}
    return [(player, {name: modalities[name] for name in player.columns}) for player in players]


def _contributions(
    target: Target,
    players: Sequence[tuple[Player, dict[str, str]]],
    plan: Coalitions,
    measured: np.ndarray,
    num_present: list[int],
    bootstrap: int,
    confidence: float,
    seed: int,
    clusters: np.ndarray | None,
    alone: Mapping[str, Interval],
) -> TargetContributions:
    """Turns rows' values into intervals and verdicts."""
    measures = contribution_of(target).measures
    num_rows = measured.shape[1]
    values = VariantScores.of_rows(measures, plan.subsets, measured, bootstrap, seed, clusters)
    names = [player.name for player, _ in players]
    everything, nothing = frozenset(names), frozenset[str]()
    units = {name: (values.unit(frozenset({name})), values.unit(everything - {name})) for name in names}
    full, none = values.unit(everything), values.unit(nothing)
    only = [units[name][0] for name in names]
    rest = [units[name][1] for name in names]
    drops = values.together([full - each for each in rest], confidence)
    gains = values.together([each - none for each in only], confidence)
    whole = values.of(full - none, confidence)
    floored = _floored(values, everything, nothing)
    shares = floored.together(list(plan.coefficients.mean(axis=0)), confidence)
    _, best_of_none = bounds(values.of(none, confidence)[measures[0]])
    results = []
    for m, (player, kinds) in enumerate(players):
        shapley = shares[m]
        if not plan.exact:
            samples = floored.means @ plan.coefficients[:, m].T
            shapley = {
                measure: _widened(shapley[measure], samples[i], confidence) for i, measure in enumerate(measures)
            }
        others = everything - {player.name}
        stands_in_for: list[str] = []
        if gains[m][measures[0]].low > 0 and not drops[m][measures[0]].low > 0:
            for other in sorted(others):
                if others - {other} in values.index:
                    gain = values.of(values.unit(everything - {other}) - values.unit(others - {other}), confidence)
                    if gain[measures[0]].low > 0:
                        stands_in_for.append(other)
        trained = None if player.is_group else alone.get(player.name)
        worth = trained is not None and trained.low > best_of_none
        verdict, by = verdict_of(measures, drops[m], gains[m], whole, num_rows, is_of_value_alone=worth)
        inconclusive = verdict is Verdict.INCONCLUSIVE and num_rows >= FEWEST_ROWS
        results.append(
            ColumnContribution(
                name=player.name,
                modality=", ".join(dict.fromkeys(kinds.values())),
                members=kinds if player.is_group else {},
                num_present=num_present[m],
                drop=drops[m],
                shapley=shapley,
                only_this=values.of(only[m], confidence),
                gain_of_only_this=gains[m],
                all_but_this=values.of(rest[m], confidence),
                trained_alone=trained,
                verdict=verdict,
                by=by,
                stands_in_for=tuple(stands_in_for),
                rows_to_tell=rows_to_tell(drops[m][measures[0]], num_rows) if inconclusive else None,
            )
        )
    order = {name: i for i, name in enumerate(names)}
    named = [
        (tuple(sorted(subset, key=order.__getitem__)), values.of(values.unit(subset), confidence))
        for subset in plan.subsets
    ]
    return TargetContributions(
        target=target.name,
        measures=measures,
        num_rows=num_rows,
        exact=plan.exact,
        additions=_additions(values, plan.subsets, names, confidence),
        interactions=_interactions(floored, names, confidence) if plan.exact else (),
        nothing=values.of(none, confidence),
        full=values.of(full, confidence),
        whole=whole,
        over_nothing=_over_nothing(values, plan.subsets, names, confidence),
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


def _floored(
    values: VariantScores[frozenset[str]], everything: frozenset[str], nothing: frozenset[str]
) -> VariantScores[frozenset[str]]:
    """With no proper subset worse than none: who has but these columns had better say nothing."""
    proper = [i for subset, i in values.index.items() if subset and subset != everything]
    none = values.index[nothing]
    means, resampled = values.means.copy(), values.resampled.copy()
    means[:, proper] = np.maximum(means[:, proper], means[:, [none]])
    resampled[:, :, proper] = np.maximum(resampled[:, :, proper], resampled[:, :, [none]])
    return VariantScores(values.measures, values.index, means, resampled, values.num_units)


def _over_nothing(
    values: VariantScores[frozenset[str]], subsets: Sequence[frozenset[str]], names: Sequence[str], confidence: float
) -> tuple[tuple[tuple[str, ...], Interval], ...]:
    """What every subset adds to none."""
    chosen = [subset for subset in subsets if subset]
    none = values.unit(frozenset())
    gains = values.first_together([values.unit(subset) - none for subset in chosen], confidence)
    order = {name: i for i, name in enumerate(names)}
    named = [tuple(sorted(subset, key=order.__getitem__)) for subset in chosen]
    return tuple(zip(named, gains, strict=True))


def _additions(
    values: VariantScores[frozenset[str]],
    subsets: Sequence[frozenset[str]],
    names: Sequence[str],
    confidence: float,
) -> tuple[Addition, ...]:
    """Every column that was added to a subset of others, none among them, where both were tried."""
    pairs = [(s, name) for s in subsets for name in names if name not in s and s | {name} in values.index]
    gains = values.first_together([values.unit(s | {name}) - values.unit(s) for s, name in pairs], confidence)
    order = {name: i for i, name in enumerate(names)}
    return tuple(
        Addition(column=name, to=tuple(sorted(s, key=order.__getitem__)), gain=gain)
        for (s, name), gain in zip(pairs, gains, strict=True)
    )


def _interactions(
    values: VariantScores[frozenset[str]], names: Sequence[str], confidence: float
) -> tuple[Interaction, ...]:
    """The Shapley-Taylor indices of order 2 of all pairs (Dhamdhere et al., "The Shapley Taylor Interaction Index",
    ICML 2020, equation 3): what two columns add together beyond what each adds without the other."""
    pairs = list(combinations(names, 2))
    sums = []
    for first, second in pairs:
        others = [name for name in names if name not in (first, second)]
        combination = np.zeros(len(values.index))
        for size in range(len(others) + 1):
            factor = 2 / (len(names) * math.comb(len(names) - 1, size))
            for chosen in combinations(others, size):
                without = frozenset(chosen)
                for subset, sign in (
                    (without | {first, second}, 1),
                    (without | {first}, -1),
                    (without | {second}, -1),
                    (without, 1),
                ):
                    combination[values.index[subset]] += sign * factor
        sums.append(combination)
    measure = values.measures[0]
    together = values.together(sums, confidence)
    return tuple(Interaction(columns=pair, value=value[measure]) for pair, value in zip(pairs, together, strict=True))
