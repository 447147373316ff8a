"""Train a model on a table: the whole way from a path to a bundle and a report."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, strftime
from typing import Any, TypeVar, cast

import torch

from polysense.core.duration import parse_duration, spell_duration
from polysense.core.files import named_path
from polysense.core.json import json_text
from polysense.core.lock import require_unlocked
from polysense.core.logs import collected_remarks, get_logger, warn_of_each
from polysense.data.tables.sources import Table
from polysense.errors import CheckpointError, ConfigError, PolysenseError, TrainingInterrupted
from polysense.escaping import visible
from polysense.recipe import Recipe
from polysense.reports.model_card import ModelCard, render_model_card
from polysense.reports.reading import Reading
from polysense.training.distributed import Distributed
from polysense.training.state import has_checkpoint
from polysense.workflows.augmentation_safety import augmentation_warnings
from polysense.workflows.candidates import bundle_choosing
from polysense.workflows.corrections import correction_warnings
from polysense.workflows.environment_facts import ENVIRONMENT, keep_environment
from polysense.workflows.folds.judged_rows import JudgedRows
from polysense.workflows.folds.models import FOLDS, train_folds
from polysense.workflows.folds.plan import FoldPlan, plan_folds
from polysense.workflows.folds.refit import refit_recipe
from polysense.workflows.folds.scores import score_folds
from polysense.workflows.measure import measure
from polysense.workflows.plan import plan_lines
from polysense.workflows.prepare import (
    Prepared,
    file_stem,
    is_recipe,
    prepare,
    prepare_recipe,
    pretrained_override,
    split_tables,
)
from polysense.workflows.reading import READING, keep_reading, kept_reading, reading_before_fit
from polysense.workflows.run import Run
from polysense.workflows.run_folder import RECORD, RunFolder, RunRecord
from polysense.workflows.shared_persons import shared_persons
from polysense.workflows.time_owed import begun_deadline
from polysense.workflows.train import train_model

__all__ = ["fit", "new", "new_folder"]

_TOLERANCE = 0.02  # of a run's time, by which it may be exceeded without a word

_log = get_logger("polysense.workflows")

T = TypeVar("T")


def fit(
    source: Any,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    output: str | Path | None = None,
    overrides: Sequence[str] = (),
    preset: str = "balanced",
    validation: str | Path | None = None,
    test: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    data: Any = None,
    resume: bool = False,
    accept_changes: bool = False,
    progress: bool = True,
    init_from: str | Path | None = None,
    pretrained: str | Path | None = None,
    time: str | float | None = None,
    folds: int | None = None,
    since: float | None = None,
) -> Run:
    """Trains a model, measures it and saves it.

    A run that was stopped, at whatever point, is resumed by the same call with `resume`; its files are then those of a
    run that was not stopped, times aside.

    Args:
        source: A table's path, a table in memory, a recipe's path (.yaml), or with `resume` a run's folder.
        target: The column or columns to predict, where the source is a table.
        task: What is to be done with the target's columns, where the guess is wrong, such as "image_generation".
            "retrieval" brings the columns named as the target (by default all media and texts) into one space.
            "reconstruction" restores the columns named as the target (by default all).
        output: The run's folder; by default runs/NAME-TIME.
        overrides: `a.b.c=value` changes of the recipe.
        preset: Where a recipe is inferred: "fast", "balanced" or "best"; or a time such as "10m", which takes the one
            that is meant for it and sets `training.time`.
        validation: A validation table of its own.
        test: A test table of its own.
        columns: Per column what you say it is ("text", "number", "ignored", ...), where inference is wrong.
        data: The table in memory, where the source is a recipe.
        resume: Resume the run in the folder. Where nothing has been trained yet, it is started.
        accept_changes: Resume although the table or the recipe is not what the run was started with.
        progress: Whether to show progress.
        init_from: A trained bundle whose parts the model starts from; short for the override `init_from.bundle=PATH`.
        pretrained: Where pretrained backbones are looked for: "auto" (the folder that POLYSENSE_PRETRAINED names, and
            the local Hugging Face cache), "download" (there, else on the hub), "off", or a folder of models; short for
            the override `pretrained=...`.
        time: The time that all of it may take, such as "10m" (a number is seconds): as many epochs and as much of the
            evaluation as fit are done, and what was left out is listed; short for the override `training.time=...`.
        folds: Out-of-fold evaluation: so many models are trained so that each row is judged by one that did not see it,
            and one more on all rows, which is delivered; short for the override `evaluation.folds=...`.
        since: When the time began, by `time.monotonic`; None: now. A command counts its imports.

    Raises:
        UserError: Something that the caller can mend; the message says what and where.
        TrainingInterrupted: Ctrl-C; the state was saved.
    """
    started = monotonic() if since is None else since
    overrides = [*pretrained_override(pretrained), *overrides]
    if time is not None:
        parse_duration(time, "time")
        overrides = [f"training.time={json_text(time)}", *overrides]
    if folds is not None:
        overrides = [f"evaluation.folds={folds}", *overrides]
    if init_from is not None:
        overrides = [f"init_from.bundle={json_text(str(init_from))}", *overrides]
    folder = None if output is None else named_path(output)
    if resume:
        run_folder = RunFolder(Path(source) if folder is None else folder)
        named = isinstance(source, (str, Path)) and Path(source).resolve() == run_folder.path.resolve()
        record = run_folder.record()
        if record is None and (named or folder is None):
            raise CheckpointError(
                f"{run_folder.path}: holds no {RECORD}; --resume needs the folder of a run that was started"
            )
        if record is not None and (named or (run_folder.is_trained and not is_recipe(source))):
            require_unlocked(run_folder.path)  # before a large table is read
            source = data if named else source
            prepared = prepare_recipe(run_folder.recipe(overrides), source, name=str(run_folder.path))
            _require_same_target(prepared.recipe, run_folder.path, target, task, columns)
            return _run(
                prepared, run_folder, resume=True, accept_changes=accept_changes, progress=progress, started=started
            )
    if folder is not None and not resume:
        RunFolder(folder).require_free()
    prepared = prepare(
        source,
        target=target,
        task=task,
        overrides=overrides,
        preset=preset,
        validation=validation,
        test=test,
        columns=columns,
        data=data,
    )
    if folder is None:
        folder = new_folder(Path("runs") / f"{file_stem(prepared.source)}-{strftime('%Y%m%d-%H%M%S')}")
    return _run(
        prepared, RunFolder(folder), resume=resume, accept_changes=accept_changes, progress=progress, started=started
    )


def new(
    table: Any,
    target: str | Sequence[str] | None = None,
    *,
    task: str | None = None,
    preset: str = "balanced",
    columns: Mapping[str, str] | None = None,
    pretrained: str | Path | None = None,
    folder: str | Path | None = None,
    minimal: bool = False,
    overrides: Sequence[str] = (),
) -> str:
    """A recipe for a table, as YAML: complete and commented, or short.

    Args:
        table: The table's path, or a table in memory.
        target: The column or columns to predict.
        task: What is to be done with the target's columns, where the guess is wrong, such as "image_generation".
            "retrieval" brings the columns named as the target (by default all media and texts) into one space.
            "reconstruction" restores the columns named as the target (by default all).
        preset: "fast", "balanced" or "best"; or a time such as "10m", as of `fit`.
        columns: Per column what you say it is, where inference is wrong.
        pretrained: As of `fit`.
        folder: Where the recipe will be written: its paths then start there, so that both can be moved together. None
            leaves them absolute.
        minimal: Leave out whatever is so by default. It reads as the same recipe.
        overrides: `a.b.c=value` changes of the recipe.

    Raises:
        UserError: The table can't be read, or a column can't serve.
    """
    overrides = [*pretrained_override(pretrained), *overrides]
    prepared = prepare(table, target=target, task=task, overrides=overrides, preset=preset, columns=columns)
    notes = {f"model.encoders.{name}": visible(why) for name, why in prepared.encoders.items()}
    ignored = []
    for guess in prepared.guesses:
        for path in (f"data.columns.{guess.name}", f"data.targets.{guess.name}"):
            notes[path] = visible(guess.reason)
        if guess.name not in prepared.recipe.data.columns and guess.name not in prepared.recipe.data.targets:
            ignored.append(visible(f"  {guess.name}: {guess.reason}"))
    if ignored:
        notes["data.columns"] = "Not used:\n" + "\n".join(ignored)
    header = (
        f"# A recipe of the preset `{preset}` for {visible(prepared.table.name)} ({len(prepared.table):,} rows).\n"
        f"# Train it:  polysense train THIS_FILE     Change a key there and then:  ... training.epochs=5\n\n"
    )
    recipe = prepared.recipe if folder is None else prepared.recipe.relative_to(Path(folder))
    if minimal:
        return header.rstrip("\n") + "\n" + recipe.to_short_yaml()
    return header + recipe.to_yaml(extra=notes)


def new_folder(folder: Path) -> Path:
    """A folder that is not there: two runs may start within a second."""
    names = itertools.chain([folder], (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not name.exists())


def _require_same_target(
    recipe: Recipe,
    folder: Path,
    target: str | Sequence[str] | None,
    task: str | None,
    columns: Mapping[str, str] | None,
) -> None:
    """Checks that a run is resumed for what it was started for, where the caller says it again.

    Raises:
        CheckpointError: It was started for another target, or with a column of another kind.
    """
    data = recipe.data
    requested = [target] if isinstance(target, str) else list(target or ())
    problems = []
    if requested and task is None and sorted(requested) != sorted(data.targets):
        problems.append(f"the target was {', '.join(data.targets)} and is {', '.join(requested)}")
    for name, kind in (columns or {}).items():
        was = data.columns[name].modality if name in data.columns else None
        if was is not None and kind.partition(":")[0] != was:
            problems.append(f"column {name!r} was {was} and is {kind}")
    if problems:
        raise CheckpointError(
            f"{folder}: not what the run was started with: {'; '.join(problems)}. Resume it with what it was started "
            "with, or start a new run in another folder"
        )


def _run(
    prepared: Prepared, folder: RunFolder, *, resume: bool, accept_changes: bool, progress: bool, started: float
) -> Run:
    recipe = prepared.recipe
    seconds = recipe.training.seconds
    deadline = None if seconds is None else begun_deadline(seconds, since=started)
    use_cuda = recipe.training.device in ("auto", "cuda") and torch.cuda.is_available()
    distributed = Distributed.from_environment(use_cuda=use_cuda)
    with ExitStack() as stack:
        stack.callback(distributed.close)
        plan = None
        apart: Mapping[str, Table | None]
        with collected_remarks() as of_split:
            if recipe.evaluation.folds:
                if distributed.world_size > 1:
                    raise ConfigError("evaluation.folds: folds are trained by one process; start without torchrun")
                plan = plan_folds(recipe, prepared.table)
                tables, apart = plan.own_tables, {"validation": plan.validation, "test": plan.test}
            else:
                tables = split_tables(recipe.data, prepared.table, recipe.training.seed)
                apart = tables
        if plan is None:
            warnings = shared_persons(recipe.data, prepared.table, tables)
        else:
            warnings = _shared_persons(plan, recipe, prepared.table)
        told = tables.get("train", prepared.table)
        warnings = [*warnings, *correction_warnings(recipe), *augmentation_warnings(recipe.data, told)]
        of_split = list(dict.fromkeys(of_split))
        if distributed.is_main:
            warn_of_each(_log, warnings)
        given = {name: part for name, part in apart.items() if part is not None}
        resuming = _on_main(
            distributed,
            lambda: _open(folder, prepared, given, stack, resume=resume, accept_changes=accept_changes),
        )
        if distributed.is_main:  # not of a run that is refused
            for line in plan_lines(recipe, tables if plan is None else plan.tables(0)):
                _log.info("%s", line)
            if plan is not None:
                _log.info("plan: %s", plan.sentence())
        hint = _resume_hint(folder.path, recipe)
        # The baselines, which are trained as long, get the rest.
        until = deadline.part(0.5) if deadline is not None and recipe.evaluation.baselines else deadline

        def reading() -> Reading:
            return reading_before_fit(prepared.table, recipe.data, prepared.guesses, [*of_split, *warnings])

        models = None
        if plan is not None:
            # A run that is resumed by its folder's name has no guesses: what they were is kept before the folds train.
            if not (folder.path / FOLDS / READING).exists():
                (folder.path / FOLDS).mkdir(exist_ok=True)
                keep_reading(folder.path / FOLDS, reading())
            models = train_folds(recipe, plan, folder.path, progress=progress, resume_hint=hint, deadline=until)
        bundle, training, unreadable = train_model(
            recipe if plan is None or models is None else refit_recipe(recipe, plan, models),
            tables,
            folder.path,
            resume=resuming and has_checkpoint(folder.path),
            progress=progress,
            distributed=distributed,
            resume_hint=hint,
            # Half of what is left is enough: what follows is the scores of all rows.
            deadline=until if until is None or plan is None else until.part(0.5),
            judged=None if models is None else JudgedRows(models),
            reading=reading if models is None else lambda: kept_reading(folder.path / FOLDS),
        )
        run = Run(folder=folder.path, recipe=recipe, bundle=bundle, training=training)
        if distributed.is_main:
            record = folder.record()
            if record is not None and record.encoders:
                bundle.info["encoders"] = dict(record.encoders)
            if not (resuming and (folder.path / ENVIRONMENT).exists()):
                keep_environment(folder.path, bundle.device, recipe.training.seed)
            try:
                scores = None
                if models is not None:
                    scores = score_folds(
                        models,
                        bundle.schema,
                        recipe.evaluation,
                        seed=recipe.training.seed,
                        progress=progress,
                        resume_hint=hint,
                        deadline=deadline,
                    )
                    bundle.info["folds"] = scores.as_json()
                with bundle_choosing(run.bundle, prepared.table):
                    measure(
                        run, tables, unreadable, progress=progress, resume_hint=hint, deadline=deadline, folds=scores
                    )
            except KeyboardInterrupt:
                raise TrainingInterrupted(f"stopped while measuring; the trained model is saved. {hint}") from None
            bundle.card = _model_card(run, tables)
            bundle.info["metrics"] = run.metrics
            bundle.save(folder.path / "bundle")
            if deadline is not None and deadline.exceeded > _TOLERANCE * deadline.seconds:
                _log.warning(
                    "%s more than the %s that were given: what is done in any case (reading the table, a step and its "
                    "validation, one simple model, scores, bundle and report) took longer on this machine",
                    spell_duration(deadline.exceeded), spell_duration(deadline.seconds),
                )  # fmt: skip
        distributed.barrier()
    return run


def _shared_persons(plan: FoldPlan, recipe: Recipe, table: Table) -> list[str]:
    """What is to be said of persons that are in several parts of a fold; once, since folds are alike."""
    results: list[str] = []
    for fold in range(plan.num_folds):
        warnings = shared_persons(recipe.data, table, plan.tables(fold))
        results = results or warnings
    return results


def _open(
    folder: RunFolder,
    prepared: Prepared,
    tables: Mapping[str, Table],
    stack: ExitStack,
    *,
    resume: bool,
    accept_changes: bool,
) -> bool:
    """Locks the folder and writes its first files; whether there is a checkpoint to go on from."""
    stack.enter_context(folder.locked())
    now = RunRecord.of(prepared.recipe, prepared.table, tables, folder.path, prepared.encoders)
    if not folder.is_trained:
        if not resume:
            folder.require_free(locked=True)
        folder.begin(now, prepared.recipe)
        return False
    record = folder.record() if resume else None
    if record is None:  # it was trained while this process read its table
        folder.require_free(locked=True)
    assert record is not None
    folder.resume(record, now, prepared.recipe, accept_changes=accept_changes)
    return True


def _on_main(distributed: Distributed, act: Callable[[], T]) -> T:
    """What the main process's act gives, in every process; its error is everybody's."""
    result: T | None = None
    error: PolysenseError | OSError | None = None
    if distributed.is_main:
        try:
            result = act()
        except (PolysenseError, OSError) as raised:
            error = raised
    result, error = distributed.from_main((result, error))
    if error is not None:
        raise error
    return cast("T", result)


def _resume_hint(folder: Path, recipe: Recipe) -> str:
    if recipe.data.table is None:  # of a table in memory, which a command can't name
        return f"Go on with: polysense.fit(TABLE, output={str(folder)!r}, resume=True)"
    return f"Go on with: polysense train {shlex.quote(str(folder))} --resume"


def _model_card(run: Run, tables: Mapping[str, Table]) -> str:
    info, model = run.bundle.info, run.recipe.model
    return render_model_card(
        ModelCard(
            schema=run.bundle.schema,
            num_parameters=info["parameters"],
            encoders={column.name: model.encoders[column.name].type for column in run.bundle.schema.columns},
            table=tables["train"].name,
            num_rows={name: len(table) for name, table in tables.items()},
            evaluations=run.evaluations,
            baselines=run.baselines,
            simple_baselines={
                split: [each.sentence() for each in by_target.values()]
                for split, by_target in run.simple_baselines.items()
            },
            contributions=None if run.contributions is None else run.contributions.summary_sentence(),
            contribution_split=run.contribution_split,
            init_from=info.get("init_from"),
            impute=info.get("impute"),
            out_of_fold="" if run.folds is None else run.folds["scored"],
            encoder_reasons=info.get("encoders", {}),
        )
    )
