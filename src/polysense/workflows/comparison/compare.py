"""A fair comparison of variants of one recipe, and what each of them must beat.

Every variant is trained with the same seeds on the same split of the rows (the recipe's seed decides the split, the
training seeds do not), with the same budget and the same measurement. Beside the variants always stand the majority
class, the best simple model, a model of each column alone and the ensemble of these, since fusing is worth nothing
that does not beat them.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polysense.core.files import named_path, sweep, write_text
from polysense.core.json import json_text, write_json
from polysense.core.lock import locked
from polysense.core.logs import get_logger, warn_of_each
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, SplitError, TrainingError, TrainingInterrupted
from polysense.evaluation.baselines import (
    CONSTANT,
    UNIMODAL_ENSEMBLE,
    baseline_name,
    constant_baseline,
    ensemble_baseline,
    unimodal_name,
)
from polysense.evaluation.comparison import FACTS, Comparison, Entry, Kind, compare_entries, measures_of, overall
from polysense.evaluation.evaluator import Evaluation, score
from polysense.recipe import Recipe
from polysense.reports.comparison import render_comparison
from polysense.reports.comparison_terminal import comparison_text
from polysense.training.callbacks.progress import duration
from polysense.workflows.comparison.pool import Outcome, run_all
from polysense.workflows.comparison.simple import SIMPLE, BestSimple, best_simple
from polysense.workflows.comparison.sweep import Variant, folder_name, make_variants, parse_over
from polysense.workflows.comparison.trial import (
    HELD_OUT,
    Trial,
    fingerprint,
    read_predictions,
    read_result,
    remove_checkpoints,
)
from polysense.workflows.finetune.transfer import check_classes
from polysense.workflows.prepare import Prepared, file_stem, prepare, pretrained_override, split_tables
from polysense.workflows.scoring import only_column
from polysense.workflows.shared_persons import shared_persons

__all__ = ["Compared", "compare"]

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class Compared:
    """A finished comparison.

    Attributes:
        folder: Holds comparison.json, comparison.html and runs/VARIANT/SEED/.
        comparison: Means, differences and what may be said of them.
    """

    folder: Path
    comparison: Comparison

    def as_json(self) -> dict[str, Any]:
        """comparison.json's content."""
        return self.comparison.as_json()

    def summary(self) -> str:
        """For people."""
        files = f"{self.folder / 'comparison.html'} and .json"
        return f"{comparison_text(self.comparison)}\n\nreport: {files}"


@dataclass(kw_only=True)
class _Plan:
    """A row of the table to be: what it is and its trainings."""

    name: str
    kind: Kind
    trials: list[Trial]
    failure: str = ""
    results: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    is_mistake: bool = False

    def note(self, outcome: Outcome) -> None:
        """Takes in how one of its trainings ended."""
        if outcome.result is not None:
            self.results[outcome.trial.seed] = outcome.result
        else:
            self.failures[outcome.trial.seed] = outcome.failure
            self.is_mistake |= outcome.is_mistake

    def mean(self, fact: str) -> float:
        """A fact's mean over the trainings."""
        return float(np.mean([result[fact] for result in self.results.values()]))


def compare(
    source: Any,
    over: Mapping[str, Sequence[Any]] | Sequence[str],
    *,
    target: str | Sequence[str] | None = None,
    seeds: int = 5,
    output: str | Path | None = None,
    overrides: Sequence[str] = (),
    preset: str = "balanced",
    columns: Mapping[str, str] | None = None,
    pretrained: str | Path | None = None,
    data: Any = None,
    split: str | None = None,
    unimodal: bool = True,
    jobs: int = 1,
    keep: bool = False,
) -> Compared:
    """Trains variants of a recipe with several seeds each and says which differences can be told from chance.

    Finished trainings are kept: the same call goes on where it was interrupted or killed, and one with more seeds or
    values does only what is new. A second call while the first is at work is refused.

    Args:
        source: A recipe's path, a table's path, or a table in memory.
        over: What to vary: `{"model.fusion.type": ["concat", "gated"]}`, or options as the command line has them,
            `["model.fusion.type=concat,gated"]`. Several keys give their product.
        target: The column or columns to predict, where the source is a table.
        seeds: Trainings of each variant.
        output: The folder; by default runs/compare-NAME-HASH, the same one for the same question.
        overrides: `a.b.c=value` changes that all variants share.
        preset: Where a recipe is inferred: "fast", "balanced" or "best"; or a time such as "10m", which takes the one
            that is meant for it and sets `training.time`.
        columns: Per column what you say it is, where inference is wrong.
        pretrained: As of `fit`; to compare with and without, vary it: `{"pretrained": ["off", "auto"]}`.
        data: The table in memory, where the source is a recipe.
        split: The rows that are judged: "test" or "validation"; by default the test rows if there are any.
        unimodal: Whether to train a model on each column alone, and to show their ensemble.
        jobs: Number of processes that train in parallel.
        keep: Whether to save each trained model.

    Raises:
        UserError: Something that the caller can mend; the message says what and where.
        TrainingError: No variant could be trained.
        TrainingInterrupted: Ctrl-C; the same call goes on.
    """
    if seeds < 1 or jobs < 1:
        raise ConfigError(f"expected at least 1 seed and 1 job, found {seeds} and {jobs}")
    options = parse_over(over)
    overrides = [*pretrained_override(pretrained), *overrides]
    prepared = prepare(
        source, target=target, overrides=overrides, preset=preset, columns=None if columns is None else dict(columns),
        data=data,
    )  # fmt: skip
    variants = make_variants(prepared.recipe, options, prepared.vary)
    if prepared.recipe.evaluation.folds:
        raise ConfigError(
            f"evaluation.folds is {prepared.recipe.evaluation.folds}: a comparison trains every variant on one split "
            "of the rows, and has no folds; give evaluation.folds=0"
        )
    tables = split_tables(prepared.recipe.data, prepared.table, prepared.recipe.training.seed)
    warn_of_each(_log, shared_persons(prepared.recipe.data, prepared.table, tables))
    evaluated_split = _evaluated_split(tables, split, prepared)
    targets = _targets(prepared.recipe, tables["train"])
    for variant in variants:
        if variant.recipe is not None:
            check_classes(variant.recipe, tables["train"], targets)
    folder = _folder(output, prepared, options, overrides)
    chosen_seeds = [prepared.recipe.training.seed + i for i in range(seeds)]
    segmented = {task(target.task).lies_in(target) for target in targets} - {None}
    single_columns = [
        name for name in prepared.recipe.data.columns if not segmented - {name}
    ]  # the others hold no segments
    if any(target_config.reads_inputs for target_config in prepared.recipe.data.targets.values()):
        single_columns = []  # a target is the columns themselves
    plans = _plans(
        variants, prepared.recipe, chosen_seeds, folder, tables, single_columns=single_columns if unimodal else ()
    )
    with locked(folder):
        sweep(folder)
        _train(plans, tables, evaluated_split, targets, chosen_seeds, keep=keep, jobs=jobs)

        entries = [_entry(plan, targets, chosen_seeds) for plan in plans]
        names = [plan.name for plan in plans]
        single = [plan for plan in plans if plan.kind is Kind.UNIMODAL]
        if len(single) > 1:
            entries.append(_ensemble(_unlike(UNIMODAL_ENSEMBLE, names), single, targets, chosen_seeds))
        trained = next((plan for plan in plans if plan.results), None)
        if trained is None or not any(plan.results for plan in plans if plan.kind is Kind.VARIANT):
            failures = [reason for plan in plans for reason in (plan.failure, *plan.failures.values()) if reason]
            raise TrainingError(f"no variant could be trained; the first one: {failures[0]}")
        constants = {baseline_name(CONSTANT, target) for target in targets}
        constant = constants.pop() if len(constants) == 1 else f"{CONSTANT} baseline"
        entries.append(_constant(_unlike(constant, names), trained, targets, chosen_seeds))
        remarks = []
        first = next(variant.recipe for variant in variants if variant.recipe is not None)
        if (simple := best_simple(first, tables, folder / "simple", fingerprint(tables))) is not None:
            entries.append(_simple(_unlike(SIMPLE, names), simple, targets, chosen_seeds))
            remarks.append(simple.sentence)
        comparison = compare_entries(
            entries,
            measures_of(targets),
            split=evaluated_split,
            seeds=chosen_seeds,
            title=f"{Path(prepared.source).stem}: {', '.join(key for key, _ in options)}",
            folder=str(folder),
            settings={
                "source": prepared.source,
                "over": {key: list(values) for key, values in options},
                "overrides": list(overrides),
                "split_seed": prepared.recipe.training.seed,
                "rows": {name: len(table) for name, table in tables.items()},
                "variants": {variant.name: list(variant.changes) for variant in variants},
                **({} if simple is None else {"simple_model": dict(simple.chosen)}),
                "folders": {plan.name: str(plan.trials[0].folder.parent) for plan in plans if plan.trials},
            },
            remarks=remarks,
        )
        write_json(folder / "comparison.json", comparison.as_json())
        write_text(folder / "comparison.html", render_comparison(comparison))
        return Compared(folder=folder, comparison=comparison)


def _evaluated_split(tables: Mapping[str, Table], split: str | None, prepared: Prepared) -> str:
    held_out = [name for name in HELD_OUT if name in tables]
    if not held_out:
        raise SplitError(f"{prepared.table.name}: there are no validation or test rows to compare on; set data.split")
    if split is not None and split not in held_out:
        raise SplitError(f"{prepared.table.name}: there are no {split!r} rows (there are: {', '.join(held_out)})")
    return split or held_out[-1]


def _targets(recipe: Recipe, table: Table) -> list[Target]:
    """The targets as every training fits them, from the training rows."""
    if any(config.lies_in_input for config in recipe.data.targets.values()):
        requirements = recipe.model.requirements(recipe.data.modalities), recipe.model.target_requirements()
        return list(Processor.fit(table, recipe.data, *requirements).schema.targets)
    return [recipe.data.target_processor(name).fit(table) for name in recipe.data.targets]


def _folder(
    output: str | Path | None, prepared: Prepared, options: Sequence[tuple[str, list[str]]], overrides: Sequence[str]
) -> Path:
    if output is None:
        settings = json_text(
            [prepared.source, list(prepared.recipe.data.targets), [k for k, _ in options], list(overrides)]
        )
        output = (
            Path("runs") / f"compare-{file_stem(prepared.source)}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
        )
    folder = named_path(output)
    if folder.is_file():
        raise ConfigError(f"{folder}: is a file, expected a folder for the comparison")
    if (folder / "recipe.yaml").exists() or (folder / "bundle").exists():
        raise ConfigError(f"{folder}: holds a training run; give another folder with -o")
    return folder


def _plans(
    variants: Sequence[Variant],
    base: Recipe,
    seeds: Sequence[int],
    folder: Path,
    tables: Mapping[str, Table],
    *,
    single_columns: Sequence[str],
) -> list[_Plan]:
    table, taken = fingerprint(tables), list[str]()

    def trials(name: str, recipe: Recipe) -> list[Trial]:
        taken.append(folder_name(name, taken))
        return [Trial.of(name, seed, recipe, folder / "runs" / taken[-1] / str(seed), table) for seed in seeds]

    plans = [
        _Plan(
            name=variant.name,
            kind=Kind.VARIANT,
            trials=[] if variant.recipe is None else trials(variant.name, variant.recipe),
            failure=variant.failure,
        )
        for variant in variants
    ]
    if len(base.data.columns) > 1:
        for column in single_columns:
            name = _unlike(unimodal_name(column), [plan.name for plan in plans])
            plans.append(_Plan(name=name, kind=Kind.UNIMODAL, trials=trials(name, only_column(base, column))))
    return plans


def _unlike(name: str, names: Sequence[str]) -> str:
    """A baseline's name; a variant may bear any, and the table tells rows apart by theirs."""
    return name if name not in names else f"{name} (baseline)"


def _train(
    plans: Sequence[_Plan],
    tables: Mapping[str, Table],
    evaluated_split: str,
    targets: Sequence[Target],
    seeds: Sequence[int],
    *,
    keep: bool,
    jobs: int,
) -> None:
    """Fills in the plans' results and failures."""
    owners = {trial.folder: plan for plan in plans for trial in plan.trials}
    todo = []
    # Seed by seed, so that a comparison that is interrupted has compared like with like. What shares its preprocessing
    # (all variants of a model) stays together.
    for kind_plans in ([p for p in plans if p.kind is Kind.VARIANT], *([p] for p in plans if p.kind is Kind.UNIMODAL)):
        todo += [trial for row in zip(*(p.trials for p in kind_plans if p.trials), strict=True) for trial in row]
    total = len(todo)
    for trial in list(todo):
        result = read_result(trial, with_model=keep)
        if result is not None:
            remove_checkpoints(trial)  # of one that was killed once its result was there
            owners[trial.folder].results[trial.seed] = result
            todo.remove(trial)
    num_variants = sum(plan.kind is Kind.VARIANT for plan in plans)
    single_columns = len(plans) - num_variants
    also = f" and {single_columns} columns alone" if single_columns else ""
    before = f", {total - len(todo)} of them done before" if len(todo) < total else ""
    _log.info("%d variants%s, %d seed(s) each: %d trainings%s", num_variants, also, len(seeds), total, before)

    def skip(trial: Trial) -> str:
        """A mistake in a recipe fails with every seed alike."""
        plan = owners[trial.folder]
        return next(iter(plan.failures.values())) if plan.is_mistake else ""

    started, done = time.monotonic(), 0
    try:
        for outcome in run_all(todo, tables, evaluated_split, keep=keep, jobs=jobs, skip=skip):
            done += 1
            owners[outcome.trial.folder].note(outcome)
            left = (time.monotonic() - started) / done * (len(todo) - done)
            _log.info("%s", _line(outcome, targets, evaluated_split, total - len(todo) + done, total, left))
    except (KeyboardInterrupt, TrainingInterrupted):
        raise TrainingInterrupted(
            f"{total - len(todo) + done} of {total} trainings are done; the same command resumes with the others"
        ) from None


def _line(outcome: Outcome, targets: Sequence[Target], evaluated_split: str, done: int, total: int, left: float) -> str:
    """One finished training, for the progress."""
    head = f"[{done:>{len(str(total))}}/{total}] {outcome.trial.name}, seed {outcome.trial.seed}: "
    rest = f"; about {duration(left)} left" if done < total else ""
    if outcome.result is None:
        return f"{head}failed: {outcome.failure}{rest}"
    first = measures_of(targets)[0]
    value = _measured(outcome.result["metrics"][evaluated_split], targets)[first.key]
    return f"{head}{first.name} {value:.4g}, {outcome.result['seconds']:.0f} s{rest}"


def _measured(metrics: Mapping[str, Any], targets: Sequence[Target]) -> dict[str, float]:
    """What a training is compared by, from metrics.json's content."""
    flat = {f"{target}/{name}": metric["value"] for target, named in metrics.items() for name, metric in named.items()}
    return overall({key: math.nan if value is None else value for key, value in flat.items()}, targets)


def _entry(plan: _Plan, targets: Sequence[Target], seeds: Sequence[int]) -> Entry:
    values: dict[str, dict[int, dict[str, float]]] = {}
    for seed, result in sorted(plan.results.items()):
        for split, metrics in result["metrics"].items():
            values.setdefault(split, {})[seed] = _measured(metrics, targets)
    facts = {fact: plan.mean(fact) for fact in FACTS if plan.results}
    failures = dict.fromkeys(seeds, plan.failure) if plan.failure else dict(sorted(plan.failures.items()))
    return Entry(name=plan.name, kind=plan.kind, values=values, failures=failures, facts=facts)


def _evaluation(trial: Trial, split: str, targets: Sequence[Target]) -> Evaluation:
    rows, statistics = read_predictions(trial, split, targets)
    return score(targets, rows, statistics, bootstrap=0)


def _ensemble(name: str, single_columns: Sequence[_Plan], targets: Sequence[Target], seeds: Sequence[int]) -> Entry:
    """Per seed the mean of the columns' own predictions; the columns' costs added up."""
    values: dict[str, dict[int, dict[str, float]]] = {}
    failures: dict[int, str] = {}
    for position, seed in enumerate(seeds):
        if any(seed not in plan.results for plan in single_columns):
            failures[seed] = "a column alone could not be trained"
            continue
        for split in single_columns[0].results[seed]["metrics"]:
            parts = [_evaluation(plan.trials[position], split, targets) for plan in single_columns]
            ensemble = ensemble_baseline(parts, bootstrap=0)
            values.setdefault(split, {})[seed] = overall(ensemble.as_flat(), targets)
    sums = {
        fact: sum(plan.mean(fact) for plan in single_columns)
        for fact in ("parameters", "seconds")
        if all(plan.results for plan in single_columns)
    }
    return Entry(name=name, kind=Kind.ENSEMBLE, values=values, failures=failures, facts=sums)


def _constant(name: str, trained: _Plan, targets: Sequence[Target], seeds: Sequence[int]) -> Entry:
    """The most frequent class, or the mean; the same whatever the seed."""
    seed = next(iter(trained.results))
    trial = next(trial for trial in trained.trials if trial.seed == seed)
    values = {}
    for split in trained.results[seed]["metrics"]:
        constant = constant_baseline(_evaluation(trial, split, targets), bootstrap=0)
        score = overall(constant.as_flat(), targets)
        values[split] = dict.fromkeys(seeds, score)
    return Entry(name=name, kind=Kind.CONSTANT, values=values)


def _simple(name: str, simple: BestSimple, targets: Sequence[Target], seeds: Sequence[int]) -> Entry:
    """The same whatever the seed."""
    values = {split: dict.fromkeys(seeds, overall(flat, targets)) for split, flat in simple.values.items()}
    return Entry(name=name, kind=Kind.SIMPLE, values=values, facts={"seconds": simple.seconds})
