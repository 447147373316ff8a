"""Write a finished run's report again: its model is measured once more on the run's held-out rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from polysense.bundle import load
from polysense.core.files import named_path
from polysense.core.json import parse_json
from polysense.core.lock import locked
from polysense.core.sample import SourceInfo, Unreadable
from polysense.errors import CheckpointError, ConfigError
from polysense.training.run import TrainResult
from polysense.workflows.folds.models import FOLDS
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
        UserError: It is no run, it has not finished, its table is gone, or its scores are out of fold.
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
    if (path / FOLDS).is_dir():
        raise ConfigError(
            f"{path}: its scores are out of fold, by models that are measured as they are trained; write them again "
            f"with: polysense train {path} --resume"
        )
    with locked(path):
        prepared = prepare_recipe(run_folder.recipe(), None, name=str(path))
        recipe = prepared.recipe
        # What was asked for when it was trained stands in the recipe; models of one column each are not trained again.
        recipe = dataclasses.replace(recipe, evaluation=dataclasses.replace(recipe.evaluation, report=True))
        run = Run(folder=path, recipe=recipe, bundle=load(path), training=training)
        tables = split_tables(recipe.data, prepared.table, recipe.training.seed)
        hint = f"Write it again with: polysense report {path}"
        measure(run, tables, _unreadable(path), progress=False, resume_hint=hint)
    if run.report is None:
        raise ConfigError(f"{path}: there are no validation or test rows, so there is nothing to report")
    return run.report


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
            source=SourceInfo(table=cell["table"], row=cell["row"], column=cell["column"], file=cell.get("file")),
            reason=cell["reason"],
        )
        for cell in cells
        if cell.get("split") == "train"
    ]
