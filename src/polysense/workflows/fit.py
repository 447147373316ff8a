"""Train a model on a table: the whole way from a path to a bundle and a report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from polysense.core.files import write_text
from polysense.core.json import json_text
from polysense.core.logs import get_logger
from polysense.data.sources import Table
from polysense.errors import CheckpointError, ConfigError
from polysense.escaping import visible
from polysense.reports.model_card import ModelCard, render_model_card
from polysense.training.distributed import Distributed
from polysense.workflows.measure import measure
from polysense.workflows.prepare import Prepared, file_stem, prepare, split_tables
from polysense.workflows.run import Run
from polysense.workflows.shared_persons import shared_persons
from polysense.workflows.train import train_model

__all__ = ["fit", "new"]

_log = get_logger("polysense.workflows")


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
    progress: bool = True,
    init_from: str | Path | None = None,
) -> Run:
    """Trains a model, measures it and saves it.

    Args:
        source: A table's path, a table in memory, a recipe's path (.yaml), or with `resume` a run's folder.
        target: The column or columns to predict, where the source is a table.
        task: "retrieval" brings the columns named as the target (by default all media and texts) into one space.
            "reconstruction" restores the columns named as the target (by default all).
        output: The run's folder; by default runs/NAME-TIME.
        overrides: `a.b.c=value` changes of the recipe.
        preset: Where a recipe is inferred: "fast", "balanced" or "best".
        validation: A validation table of its own.
        test: A test table of its own.
        columns: Per column what you say it is ("text", "number", "ignored", ...), where inference is wrong.
        data: The table in memory, where the source is a recipe.
        resume: Go on from the run folder's last checkpoint.
        progress: Whether to show progress.
        init_from: A trained bundle whose parts the model starts from; short for the override `init_from.bundle=PATH`.

    Raises:
        UserError: Something that the caller can mend; the message says what and where.
        TrainingInterrupted: Ctrl-C; the state was saved.
    """
    if init_from is not None:
        overrides = [f"init_from.bundle={json_text(str(init_from))}", *overrides]
    if resume:
        folder = Path(source if output is None else output)
        if not (folder / "recipe.yaml").is_file():
            raise CheckpointError(
                f"{folder}: holds no recipe.yaml; --resume needs the folder of a run that was started"
            )
        if data is None and not isinstance(source, (str, Path)):
            data = source
        prepared = prepare(folder / "recipe.yaml", overrides=overrides, data=data)
    else:
        if output is not None:
            _require_free(Path(output))  # before a large table is read
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
        folder = Path(output or Path("runs") / f"{file_stem(prepared.source)}-{time.strftime('%Y%m%d-%H%M%S')}")
        _require_free(folder)
    return _run(prepared, folder, resume=resume, progress=progress)


def new(
    table: Any,
    target: str | Sequence[str] | None = None,
    *,
    task: str | None = None,
    preset: str = "balanced",
    columns: Mapping[str, str] | None = None,
) -> str:
    """A commented recipe for a table, as YAML.

    Args:
        table: The table's path, or a table in memory.
        target: The column or columns to predict.
        task: "retrieval" brings the columns named as the target (by default all media and texts) into one space.
            "reconstruction" restores the columns named as the target (by default all).
        preset: "fast", "balanced" or "best".
        columns: Per column what you say it is, where inference is wrong.

    Raises:
        UserError: The table can't be read, or a column can't serve.
    """
    prepared = prepare(table, target=target, task=task, preset=preset, columns=columns)
    notes: dict[str, str] = {}
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
    return header + prepared.recipe.to_yaml(extra=notes)


def _require_free(folder: Path) -> None:
    if folder.is_file():
        raise ConfigError(f"{folder}: is a file, expected a folder for the run")
    if (folder / "recipe.yaml").exists():
        raise ConfigError(f"{folder}: holds a run already; give another folder with -o, or go on with it by --resume")


def _run(prepared: Prepared, folder: Path, *, resume: bool, progress: bool) -> Run:
    recipe = prepared.recipe
    use_cuda = recipe.training.device in ("auto", "cuda") and torch.cuda.is_available()
    distributed = Distributed.from_environment(use_cuda=use_cuda)
    try:
        tables = split_tables(recipe.data, prepared.table, recipe.training.seed)
        for warning in shared_persons(recipe.data, prepared.table, tables):
            _log.warning("%s", warning)
        folder.mkdir(parents=True, exist_ok=True)
        if distributed.is_main:
            write_text(folder / "recipe.yaml", recipe.to_yaml())
        bundle, training, unreadable = train_model(
            recipe, tables, folder, resume=resume, progress=progress, distributed=distributed
        )
        run = Run(folder=folder, recipe=recipe, bundle=bundle, training=training)
        if distributed.is_main:
            measure(run, tables, unreadable, progress=progress)
            write_text(folder / "bundle" / "README.md", _model_card(run, tables))
            bundle.info["metrics"] = run.metrics
            bundle.save(folder / "bundle")
        distributed.barrier()
    finally:
        distributed.close()
    return run


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
            contributions=None if run.contributions is None else run.contributions.summary_sentence(),
            contribution_split=run.contribution_split,
            init_from=info.get("init_from"),
            impute=info.get("impute"),
        )
    )
