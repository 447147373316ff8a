"""Simulated labeling: on a table whose labels are known, what would each strategy have been worth?

Every strategy starts with no label, asks for rows in steps, gets their labels from the table, and the learner is scored
on rows that no strategy may choose: those that the recipe's split tests on, so that groups never straddle. Features are
made once and shared. Random rows are one of the strategies, on the same seeds: what the others are worth is the
difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from polysense.config.base import members
from polysense.core.batch import Batch, Truth
from polysense.core.pytree import concatenate
from polysense.core.random import fold, generator
from polysense.core.sample import Unreadable
from polysense.data.split import RandomSplitConfig, groups_of
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ConfigError, TableError
from polysense.escaping import joined
from polysense.evaluation.bootstrap import groups_to_resample, multiplicities
from polysense.evaluation.evaluator import TargetScorer
from polysense.evaluation.label_curves import RANDOM, LabelCurves, compare_curves
from polysense.evaluation.target_metrics import headline_metric
from polysense.nn.head import Head
from polysense.recipe import Recipe
from polysense.reports.label_curves import label_curves_table, render_label_curves
from polysense.reports.terminal_tables import plain_text
from polysense.workflows.labeling.frozen_features import FeatureModel, feature_model, feature_recipe
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.row_features import RowFeatures
from polysense.workflows.labeling.strategies.base import StrategyConfig, strategy_named
from polysense.workflows.prepare import prepare, pretrained_override, split_tables
from polysense.workflows.score_statistics import plain_head, score_statistics
from polysense.workflows.written_page import write_page

__all__ = ["LabelingRows", "Simulation", "label_numbers", "simulate_curves", "simulate_labeling"]

_GROWTH = 1.5  # from one number of labels to the next
_FEWEST_FIRST, _MOST_LABELS = 10, 1_000
_RESAMPLES = 500
_FEWEST_SEEDS = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelingRows:
    """Labeled rows, as the learner and the metrics take them.

    Attributes:
        head: Of the target; takes scores.
        pool: Features of the rows that may be labeled, float [rows, size].
        labels: What the learner learns of them.
        tested: Features of the rows that are scored.
        truth: Of these.
        clusters: int64 [tested], their groups; None: rows are on their own.
    """

    head: Head[object]
    pool: Float[np.ndarray, "rows size"]
    labels: Float[np.ndarray, "rows _"]
    tested: Float[np.ndarray, "tested size"]
    truth: Truth
    clusters: np.ndarray | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Simulation:
    """What `simulate_labeling` measured.

    Attributes:
        measured: The curves.
        unreadable: Cells that could not be read; they count as missing.
    """

    measured: LabelCurves
    unreadable: tuple[Unreadable, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return self.measured.as_json() | {"unreadable": [cell.as_dict() for cell in self.unreadable]}

    def text(self) -> str:
        """For people, in 80 columns."""
        return joined([*plain_text(label_curves_table(self.measured)).splitlines(), *self.measured.remarks()])

    def write(self, path: Path | str) -> list[Path]:
        """Writes a page (.html), the figures (.json), or into a folder both.

        Returns:
            What was written.

        Raises:
            TableError: A file can't be written.
        """
        return write_page(path, "labeling", lambda: render_label_curves(self.measured), self.as_json)


def simulate_labeling(
    source: Any,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    strategies: Sequence[str] | None = None,
    seeds: int = 5,
    numbers: Sequence[int] | None = None,
    overrides: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    inputs: Sequence[str] | None = None,
    pretrained: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    reading: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Measures what strategies of labeling are worth on a table whose labels are known.

    Args:
        source: A table's path, a table in memory, or a recipe's path.
        target: The column of labels, where the source is a table.
        task: Of the target, where the guess is wrong.
        strategies: Their names (`polysense list strategies`); None: all that can choose rows for such labels. Random
            rows are always among them.
        seeds: Repetitions of each strategy, from other starts; at least 2.
        numbers: Of labels after which the learner is fitted, scored and asked for more; None: half as many more each
            time, from 10 (or as many as there are classes) up to 1,000 or half the rows.
        overrides: `a.b.c=value` changes of the recipe.
        columns: Per column what you say it is ("ignored", ...).
        inputs: The columns that the learner reads; None: those that a model would read.
        pretrained: Where pretrained backbones are looked for, as of `fit`.
        device: Where frozen networks run.
        seed: Of the starts and of the bootstrap.
        progress: Called with the fits that are done, and all.
        reading: Likewise with rows, while features are made.

    Raises:
        ConfigError: A setting is wrong, or no simple model can learn the target.
        UserError: The table can't be read or split.
    """
    if seeds < _FEWEST_SEEDS:
        raise ConfigError(f"seeds: expected at least {_FEWEST_SEEDS}, for an interval; found {seeds}")
    chosen = None if strategies is None else [strategy_named(name) for name in strategies]
    if inputs is not None:
        columns = {**_others_ignored(source, inputs, target), **(columns or {})}
    prepared = prepare(
        source, target=target, task=task, overrides=[*pretrained_override(pretrained), *overrides], columns=columns
    )
    recipe, notes = _one_target(prepared.recipe), list[str]()
    pool, tested, split = _parts(recipe, prepared.table, notes)
    model = feature_model(feature_recipe(recipe, len(prepared.table)), pool, device=device)
    rows, unreadable = _read(model, pool, tested, recipe.data.split.resampled, notes, reading)
    measured = simulate_curves(
        rows,
        strategies=chosen,
        seeds=seeds,
        numbers=numbers,
        seed=seed,
        progress=progress,
        split=split,
        features=model.description,
        notes=notes,
    )
    return Simulation(measured=measured, unreadable=tuple(unreadable))


def simulate_curves(
    rows: LabelingRows,
    *,
    strategies: Sequence[StrategyConfig] | None = None,
    seeds: int = 5,
    numbers: Sequence[int] | None = None,
    seed: int = 0,
    resamples: int = _RESAMPLES,
    progress: Callable[[int, int], None] | None = None,
    split: str = "test",
    features: str = "",
    notes: Sequence[str] = (),
) -> LabelCurves:
    """The curves of strategies on rows whose features and labels are known.

    Args:
        rows: The rows.
        strategies: None: all that can choose rows for such labels; random rows are always among them.
        seeds: Repetitions.
        numbers: Of labels; None: `label_numbers`.
        seed: Of the starts and of the bootstrap.
        resamples: Of the bootstrap.
        progress: Called with the fits that are done, and all.
        split: What the tested rows are.
        features: What they are, in words.
        notes: What was left out.

    Raises:
        ConfigError: A strategy can't choose rows for such labels, or the numbers of labels are wrong.
        TableError: There are too few rows, or their features or labels do not differ.
    """
    head, target = rows.head, rows.head.target
    assert head.score_kind is not None
    scaled = RowFeatures(rows.pool)
    tested = scaled.transform(rows.tested)
    learner = Learner(scaled, num_outputs=head.num_scores, kind=head.score_kind, seed=seed)
    chosen = _strategies(strategies, learner)
    least = min(head.num_scores, 100) if head.score_kind == "choice" else _FEWEST_FIRST
    numbers = label_numbers(len(scaled), least) if numbers is None else _checked(numbers, len(scaled))
    learner.update(range(len(scaled)), rows.labels)
    if not learner.can_tell:
        raise TableError(f"target {target.name!r}: all {len(scaled):,} rows that could be labeled have the same label")
    metric = headline_metric(target)
    weights = _weights(rows, resamples, seed)
    total = len(chosen) * seeds * len(numbers)

    def scored(
        scores: np.ndarray, drawn: np.ndarray = weights, *, rankings: bool = False
    ) -> Float[np.ndarray, " resamples_1"]:
        scorer = TargetScorer(target, score_statistics(head, scores.astype(np.float64), rows.truth))
        return np.asarray(scorer(drawn, rankings=rankings).get(metric.name, np.full(len(drawn), np.nan)))

    every = learner.scores(tested)
    # A metric that sorts scores takes the most time, and has no value unless they are sorted.
    sorts = not np.isfinite(scored(every, weights[:1])[0])
    full = scored(every, rankings=sorts)
    if not np.isfinite(full[0]):
        raise TableError(
            f"target {target.name!r}: {metric.name} has no value on the {split} rows: {metric.undefined_when}"
        )
    empty = float(scored(np.full(every.shape, np.nan), weights[:1], rankings=sorts)[0])  # the prior
    scores = {each.type: np.full((seeds, len(numbers), weights.shape[0]), np.nan) for each in chosen}
    done = 0
    for repetition in range(seeds):
        for strategy in chosen:
            own = Learner(scaled, num_outputs=head.num_scores, kind=head.score_kind, seed=repetition)
            # One generator for each strategy and repetition, whatever else is tried.
            draws = generator(int(fold(seed, "labeling", repetition, strategy.type).view(np.int64)))
            for point, number in enumerate(numbers):
                unlabeled = np.flatnonzero(~own.is_labeled)
                new = strategy.choose(own, unlabeled, number - own.num_labeled, draws)
                own.update(new, rows.labels[new])
                scores[strategy.type][repetition, point] = scored(own.scores(tested), rankings=sorts)
                done += 1
                if progress is not None:
                    progress(done, total)
    curves, whole, goal = compare_curves(scores, full, empty, numbers, metric, seed=seed)
    return LabelCurves(
        target=target.name,
        metric=metric,
        numbers=tuple(numbers),
        full=whole,
        goal=goal,
        curves=curves,
        num_pool=len(scaled),
        num_tested=len(rows.tested),
        num_groups=None if rows.clusters is None else len(np.unique(rows.clusters)),
        num_seeds=seeds,
        split=split,
        features=features,
        notes=tuple(notes),
    )


def label_numbers(num_rows: int, least: int = _FEWEST_FIRST) -> list[int]:
    """Numbers of labels to try: half as many more each time, up to half the rows or 1,000.

    Args:
        num_rows: That can be labeled.
        least: The first number, if it is not too small or too large.
    """
    most = max(min(num_rows // 2, _MOST_LABELS), min(num_rows, 2))
    result = [min(max(least, _FEWEST_FIRST), most)]
    while result[-1] < most:
        result.append(min(max(round(result[-1] * _GROWTH), result[-1] + 1), most))
    return result


def _checked(numbers: Sequence[int], num_rows: int) -> list[int]:
    ordered = sorted(set(numbers))
    if not ordered or ordered[0] < 1 or ordered[-1] > num_rows:
        raise ConfigError(
            f"numbers of labels: found {', '.join(map(str, numbers)) or 'none'}, expected numbers from 1 to the "
            f"{num_rows:,} rows that can be labeled"
        )
    return ordered


def _strategies(given: Sequence[StrategyConfig] | None, learner: Learner) -> list[StrategyConfig]:
    """Random rows, then the others, each once."""
    if given is None:
        every = [strategy_named(name) for name in members("strategy")]
        given = [each for each in every if learner.kind != "numbers" or not each.needs_probabilities]
    result = [strategy_named(RANDOM)]
    for each in given:
        each.check_kind(learner.kind)
        if each.type not in [one.type for one in result]:
            result.append(each)
    return result


def _weights(rows: LabelingRows, resamples: int, seed: int) -> Float[np.ndarray, "resamples_1 tested"]:
    num = len(rows.tested)
    drawn = multiplicities(num, resamples, seed, clusters=groups_to_resample(rows.clusters))
    return np.concatenate([np.ones((1, num)), *drawn])


def _others_ignored(source: Any, inputs: Sequence[str], target: str | Sequence[str] | None) -> dict[str, str]:
    table = read_table(source)
    for name in inputs:
        table.require(name, "input column")
    kept = {*inputs, *([target] if isinstance(target, str) else target or ())}
    return {name: "ignored" for name in table.names if name not in kept}


def _one_target(recipe: Recipe) -> Recipe:
    if len(recipe.model.heads) != 1:
        raise ConfigError(
            f"simulated labeling needs one target; found {', '.join(recipe.model.heads) or 'none'}: name one column"
        )
    return recipe


def _parts(recipe: Recipe, table: Table, notes: list[str]) -> tuple[Table, Table, str]:
    """The rows that may be labeled, those that are scored, and what the latter are."""
    data = recipe.data
    tables = split_tables(data, table, recipe.training.seed)
    if "test" not in tables:
        if "validation" not in tables:
            raise ConfigError(
                f"{table.name}: the split leaves neither test nor validation rows, so nothing can be scored; name a "
                "split that does (data.split=...)"
            )
        notes.append("there is no test split: scored on the validation rows")
        return tables["train"], tables["validation"], "validation"
    strategy = data.split
    # Validation rows choose nothing here: they may be labeled, too.
    if data.validation is None and "validation" in tables:
        if isinstance(strategy, RandomSplitConfig):
            strategy = dataclasses.replace(strategy, validation=0.0)
        else:
            strategy = strategy.without_validation(table)
        again = split_tables(dataclasses.replace(data, split=strategy), table, recipe.training.seed)
        if np.array_equal(again["test"].rows, tables["test"].rows):
            return again["train"], again["test"], "test"
    return tables["train"], tables["test"], "test"


def _read(
    model: FeatureModel,
    pool: Table,
    tested: Table,
    group: str | None,
    notes: list[str],
    progress: Callable[[int, int], None] | None,
) -> tuple[LabelingRows, list[Unreadable]]:
    (target,) = model.processor.schema.targets
    head = plain_head(model.recipe.model.heads[target.name], target)
    if head is None:
        raise ConfigError(
            f"target {target.name!r}: labeling is simulated with a linear model of frozen features, which can't learn "
            f"the task {target.task!s}; expected one of classes, labels or numbers for a whole row"
        )
    parts, unreadable = [], list[Unreadable]()
    total, before = len(pool) + len(tested), 0
    for name, table in (("pool", pool), ("tested", tested)):
        truths: list[tuple[np.ndarray, Truth]] = []

        def each(batch: Batch, truths: list[tuple[np.ndarray, Truth]] = truths) -> None:
            truth, keep = head.truth(batch), batch.rows >= 0
            if truth is not None:
                truths.append((batch.rows[keep].numpy(), truth.rows(keep)))

        shown = None if progress is None else _after(progress, before, total)
        values, cells = model.read(table, each=each, with_targets=True, progress=shown)
        before += len(table)
        unreadable += cells
        if not truths:
            raise TableError(f"{table.name}: no row has the target {target.name!r}")
        order = np.argsort(np.concatenate([numbers for numbers, _ in truths]), kind="stable")
        truth = concatenate([each for _, each in truths]).rows(torch.from_numpy(order))
        labels = head.learned_values(truth).double().numpy()
        known = np.isfinite(labels).any(axis=1) & np.isfinite(values).any(axis=1)
        if not known.all():
            notes.append(f"{int((~known).sum()):,} {name} rows lack a label or all columns, and are left out")
        if known.sum() < 2:
            raise TableError(f"{table.name}: fewer than two {name} rows have a label and a column")
        parts.append((values[known], labels[known], truth.rows(torch.from_numpy(np.flatnonzero(known))), known))
    (own, labels, _, _), (other, _, truth, known) = parts
    clusters = None
    if group is not None and tested.has(group):
        clusters = groups_of(tested, group)[known]
    rows = LabelingRows(head=head, pool=own, labels=labels, tested=other, truth=truth, clusters=clusters)
    return rows, unreadable


def _after(progress: Callable[[int, int], None], before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _: progress(before + done, total)
