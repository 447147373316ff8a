"""Write a finished run's report again, from what its folder keeps of it (`kept_results`).

Where that is gone, or of another model, recipe or table, the model is measured once more on the run's held-out rows.
Where scores are out of fold, the folds' models are in the run's folder, and each judges its rows once more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from polysense.bundle import load
from polysense.core.files import named_path
from polysense.core.json import parse_json
from polysense.core.lock import locked
from polysense.core.logs import get_logger
from polysense.core.sample import Unreadable
from polysense.data.tables.sources import Table
from polysense.errors import CheckpointError, ConfigError
from polysense.training.run import TrainResult
from polysense.workflows.candidates import bundle_choosing
from polysense.workflows.folds.models import FoldModels, fold_folder, fold_recipe, trained_plan
from polysense.workflows.folds.plan import FoldPlan, plan_folds
from polysense.workflows.folds.scores import FoldScores, score_folds
from polysense.workflows.kept_results import NoResultsError, restore_results, unreadable_cells
from polysense.workflows.measure import measure, scored_split, write_pages, write_results
from polysense.workflows.prepare import prepare_recipe, split_tables
from polysense.workflows.run import Run
from polysense.workflows.run_folder import RECORD, RunFolder, RunRecord

__all__ = ["report"]

_log = get_logger("polysense.workflows")


def report(folder: str | Path) -> Path:
    """Writes a run's report again, with all files that hold its scores.

    What was measured is in the run's folder. Only where it is not, or the model, the recipe or a table has changed, is
    the model measured again, and that is logged with its reason.

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
        plan = None
        if recipe.evaluation.folds:
            plan = trained_plan(plan_folds(recipe, prepared.table), recipe, path)
        tables = split_tables(recipe.data, prepared.table, recipe.training.seed) if plan is None else plan.own_tables
        fingerprints = RunRecord.of(recipe, prepared.table, tables, path).tables
        trained = unreadable_cells(path).get("train", [])
        try:
            _rewrite(run, tables, fingerprints, trained)
        except NoResultsError as error:
            _log.info("measuring the model again, since its results can't be shown: %s", error)
            hint = f"Write it again with: polysense report {path}"
            scores = None if plan is None else _out_of_fold(run, plan, hint)
            with bundle_choosing(run.bundle, prepared.table):
                measure(run, tables, trained, progress=False, resume_hint=hint, folds=scores, fingerprints=fingerprints)
    if run.report is None:
        raise ConfigError(f"{path}: there are no validation or test rows, so there is nothing to report")
    return run.report


def _rewrite(run: Run, tables: Mapping[str, Table], fingerprints: object, trained: Sequence[Unreadable]) -> None:
    """Writes the files from what the folder keeps.

    Args:
        run: Its results are read into it.
        tables: Per split.
        fingerprints: Of the tables.
        trained: The training rows' unreadable cells.

    Raises:
        NoResultsError: It keeps no results of this run, as it is now.
    """
    if run.recipe.evaluation.folds:
        raise NoResultsError("what folds measured is not kept")
    has_pages = restore_results(run, tables, fingerprints)
    split = scored_split(run.evaluations)
    if split is not None and not has_pages:
        _log.info("making the pages beside the report, which are not there")
        write_pages(run, tables, split)
    cells = {name: list(result.unreadable) for name, result in run.evaluations.items()}
    write_results(run, tables, {"train": list(trained), **cells})


def _out_of_fold(run: Run, plan: FoldPlan, hint: str) -> FoldScores:
    """What the folds' models say of their rows.

    Raises:
        CheckpointError: A fold's model is gone.
    """
    recipe, path = run.recipe, run.folder
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
    return scores


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
