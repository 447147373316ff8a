"""The models of the folds: trained one after another, each in a folder of its own, resumed as a run is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polysense.bundle import Bundle, load
from polysense.config.codec import to_dict
from polysense.core.duration import spell_duration
from polysense.core.json import read_json, write_json
from polysense.core.logs import get_logger
from polysense.data.tables.sources import Table
from polysense.recipe import Recipe
from polysense.training.state import has_checkpoint
from polysense.training.time_plan import Deadline
from polysense.workflows.folds.plan import FoldPlan
from polysense.workflows.train import train_model

__all__ = [
    "FOLDS", "FoldModel", "FoldModels", "fold_folder", "fold_recipe", "folds_that_fit", "train_folds", "trained_plan",
]  # fmt: skip

FOLDS = "folds"
"""The folder of the folds' models in a run's."""

_FILE = "shortened.json"

# What a run may be resumed with more of (`run_folder`); a fold that ended by other settings goes on.
_LENGTH = ("epochs", "time", "early_stopping")

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class FoldModel:
    """A fold's model.

    Attributes:
        number: Of the fold, from 1.
        bundle: The model.
        positions: int64, where the rows that it is judged on are among all rows.
        tables: Its own split; "test" are the rows that it is judged on.
        folder: Its own.
        recipe: By which it was trained.
    """

    number: int
    bundle: Bundle
    positions: np.ndarray
    tables: dict[str, Table]
    folder: Path
    recipe: Recipe


@dataclass(frozen=True, eq=False, kw_only=True)
class FoldModels:
    """All of them, each loaded when its turn comes, so that one at a time is in memory.

    Attributes:
        plan: Which rows are whose.
        recipe: Of each fold.
        folder: The run's.
    """

    plan: FoldPlan
    recipe: Recipe
    folder: Path

    def __iter__(self) -> Iterator[FoldModel]:
        for fold in range(self.plan.num_folds):
            own = fold_folder(self.folder, fold)
            yield FoldModel(
                number=fold + 1,
                bundle=load(own, device=self.recipe.training.device),
                positions=self.plan.judged(fold),
                tables=self.plan.tables(fold),
                folder=own,
                recipe=self.recipe,
            )

    def facts(self) -> list[dict[str, Any]]:
        """Of each fold its rows and how its training went."""
        results = []
        for fold in range(self.plan.num_folds):
            info = read_json(fold_folder(self.folder, fold) / "bundle" / "bundle.json", dict)["info"]
            results.append({"fold": fold + 1, "rows": info["rows"], "best_epoch": info["best_epoch"]})
        return results


def train_folds(
    recipe: Recipe,
    plan: FoldPlan,
    folder: Path,
    *,
    progress: bool,
    resume_hint: str,
    deadline: Deadline | None,
) -> FoldModels:
    """Trains a model for each fold, or goes on with it; one that is finished stays as it is.

    Args:
        recipe: Of the run.
        plan: Which rows are whose.
        folder: The run's.
        progress: Whether to show progress.
        resume_hint: What a user must do to resume the run.
        deadline: When the trainings must be over, that of the delivered model too; each gets an equal part. Folds that
            do not fit, as the first ones have shown, are left out: their rows train and are not judged.
    """
    own = fold_recipe(recipe, plan)
    num_folds = trained_plan(plan, recipe, folder).num_folds
    started, trained = time.monotonic(), 0
    for fold in range(plan.num_folds):
        if fold >= num_folds:
            break
        place, name = fold_folder(folder, fold), f"fold {fold + 1} of {plan.num_folds}"
        if _is_finished(place, own):
            continue
        tables = plan.tables(fold)
        chosen = f", {len(tables['validation']):,} that choose" if "validation" in tables else ""
        _log.info(
            "%s: %d rows that train%s, %d that are judged", name, len(tables["train"]), chosen, len(tables["test"])
        )
        train_model(
            own,
            tables,
            place,
            resume=has_checkpoint(place),
            progress=progress,
            resume_hint=resume_hint,
            deadline=None if deadline is None else deadline.part(1 / (plan.num_folds - fold + 1)),
            name=name,
        )
        trained += 1
        left = plan.num_folds - fold
        if deadline is None and trained == 1:
            seconds = (time.monotonic() - started) * left
            _log.info("the other %d trainings take about %s", left, spell_duration(seconds))
        if deadline is not None:
            fitting = folds_that_fit(place, deadline, fold + 1, num_folds)
            if fitting < num_folds:
                num_folds = fitting
                write_json(folder / FOLDS / _FILE, {"folds": num_folds, "time": recipe.training.seconds})
    if num_folds < plan.num_folds:
        unjudged = int((plan.fold_of >= num_folds).sum())
        if deadline is not None:
            deadline.note(
                "folds",
                f"{plan.num_folds - num_folds} of {plan.num_folds} folds, so that {unjudged:,} of {len(plan.rows):,} "
                "rows are not judged",
            )
        plan = plan.shortened(num_folds)
    return FoldModels(plan=plan, recipe=own, folder=folder)


def trained_plan(plan: FoldPlan, recipe: Recipe, folder: Path) -> FoldPlan:
    """The plan with those folds alone that there was time for.

    Args:
        plan: With all folds.
        recipe: Of the run; with another `training.time` than before all folds are to be trained.
        folder: The run's.
    """
    path = folder / FOLDS / _FILE
    if not path.exists():
        return plan
    kept = read_json(path, dict)
    return plan.shortened(int(kept["folds"])) if kept["time"] == recipe.training.seconds else plan


def folds_that_fit(folder: Path, deadline: Deadline, done: int, num_folds: int) -> int:
    """How many folds there is time for, the delivered model kept in mind.

    Args:
        folder: Of the fold's model that was trained last.
        deadline: When all must be over.
        done: Folds that are trained.
        num_folds: That are to be.
    """
    info = read_json(folder / "bundle" / "bundle.json", dict)["info"]
    # A model costs what is beside its epochs, however few these are.
    least = max(info["wall_seconds"] - info["seconds"], 1e-9)
    return min(num_folds, done + max(0, int(deadline.left / least) - 1))


def fold_folder(folder: Path, fold: int) -> Path:
    """The folder of a fold's model, in a run's; folds count from 0, folders from 1."""
    return folder / FOLDS / str(fold + 1)


def fold_recipe(recipe: Recipe, plan: FoldPlan) -> Recipe:
    """The recipe of each fold's model: with the classes of all rows, and nothing that is measured of a whole run."""
    targets = {name: target.with_classes(plan.classes[name]) for name, target in recipe.data.targets.items()}
    return replace(
        recipe,
        data=replace(recipe.data, targets=targets),
        training=replace(recipe.training, tensorboard=False),
        evaluation=replace(
            recipe.evaluation, folds=0, simple_baselines=False, contribution=False, report=False, samples=0
        ),
    )


def _is_finished(folder: Path, recipe: Recipe) -> bool:
    path = folder / "bundle" / "bundle.json"
    if not path.is_file():
        return False
    trained, now = read_json(path, dict)["recipe"]["training"], to_dict(recipe)["training"]
    return all(trained[key] == now[key] for key in _LENGTH)
