"""Write a finished run's report again: its model is measured once more on the run's held-out rows.

Where scores are out of fold, the folds' models are in the run's folder, and each judges its rows once more.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from polysense.bundle import load
from polysense.core.files import named_path
from polysense.core.json import parse_json
from polysense.core.lock import locked
from polysense.core.sample import SourceInfo, Unreadable
from polysense.data.tables.sources import Table
from polysense.errors import CheckpointError, ConfigError
from polysense.training.run import TrainResult
from polysense.workflows.folds.models import FoldModels, fold_folder, fold_recipe, trained_plan
from polysense.workflows.folds.plan import plan_folds
from polysense.workflows.folds.scores import FoldScores, score_folds
from polysense.workflows.measure import measure
from polysense.workflows.prepare import prepare_recipe, split_tables
from polysense.workflows.run import Run
from polysense.workflows.run_folder import RECORD, RunFolder

__all__ = ["report"]


def report(folder: str | Path) -> Path:
    """Measures a run's model again and writes its report, with all files that hold its scores.

    Args:
        folder: A finished run's.

    Returns:
        The path of report.html.

    Raises:
        UserError: It is no run, it has not finished, or its table is gone.
    """
    run_folder = RunFolder(named_path(folder))
    path, record = run_folder.path, None
    if path.is_dir():
        record = run_folder.record()
    if record is None:
        raise ConfigError(f"{path}: holds no {RECORD}; name the folder of a run")
    training = _training(path)
    if training is None or not (path / "bundle" / "bundle.json").exists():
        raise CheckpointError(f"{path}: has not finished training; resume it: polysense train {path} --resume")
    with locked(path):
        prepared = prepare_recipe(run_folder.recipe(), None, name=str(path))
        recipe = prepared.recipe
        # What was asked for when it was trained stands in the recipe; models of one column each are not trained again.
        recipe = dataclasses.replace(recipe, evaluation=dataclasses.replace(recipe.evaluation, report=True))
        run = Run(folder=path, recipe=recipe, bundle=load(path), training=training)
        hint, scores = f"Write it again with: polysense report {path}", None
        if recipe.evaluation.folds:
            scores, tables = _out_of_fold(run, prepared.table, hint)
        else:
            tables = split_tables(recipe.data, prepared.table, recipe.training.seed)
        measure(run, tables, _unreadable(path), progress=False, resume_hint=hint, folds=scores)
    if run.report is None:
        raise ConfigError(f"{path}: there are no validation or test rows, so there is nothing to report")
    return run.report


def _out_of_fold(run: Run, table: Table, hint: str) -> tuple[FoldScores, dict[str, Table]]:
    """What the folds' models say of their rows, and the tables of the model that was trained on all of them.

    Raises:
        CheckpointError: A fold's model is gone.
    """
    recipe, path = run.recipe, run.folder
    plan = trained_plan(plan_folds(recipe, table), recipe, path)
    for fold in range(plan.num_folds):
        if not (fold_folder(path, fold) / "bundle" / "bundle.json").exists():
            raise CheckpointError(
                f"{fold_folder(path, fold)}: the model of fold {fold + 1} of {plan.num_folds} is gone, so its rows "
                f"can't be judged again; train it anew: polysense train {path} --resume"
            )
    models = FoldModels(plan=plan, recipe=fold_recipe(recipe, plan), folder=path)
    scores = score_folds(
        models, run.bundle.schema, recipe.evaluation, seed=recipe.training.seed, progress=False, resume_hint=hint,
        deadline=None,
    )  # fmt: skip
    run.bundle.info["folds"] = scores.as_json()
    return scores, plan.own_tables


def _training(folder: Path) -> TrainResult | None:
    """How the training went, by its log; None where that has no end."""
    try:
        events = [parse_json(line, dict) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return None
    end = next((event for event in reversed(events) if event.get("event") == "end"), None)
    if end is None:
        return None
    names = {field.name for field in dataclasses.fields(TrainResult)} - {"history"}
    facts = {name: end.get(name) for name in names} | {"monitored": tuple(end.get("monitored", ()))}
    return TrainResult(**facts, history=[event for event in events if event.get("event") == "epoch"])


def _unreadable(folder: Path) -> list[Unreadable]:
    """The training rows' cells that could not be read."""
    try:
        lines = (folder / "unreadable.jsonl").read_text(encoding="utf-8").splitlines()
        cells = [parse_json(line, dict) for line in lines]
    except (OSError, ValueError):
        return []
    return [
        Unreadable(
            source=SourceInfo(
                table=cell["table"],
                row=cell["row"],
                column=cell["column"],
                file=cell.get("file"),
                key=cell.get("key"),
            ),
            reason=cell["reason"],
        )
        for cell in cells
        if cell.get("split") == "train"
    ]
