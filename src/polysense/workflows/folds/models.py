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
from polysense.core.json import read_json
from polysense.core.logs import get_logger
from polysense.data.tables.sources import Table
from polysense.recipe import Recipe
from polysense.training.state import has_checkpoint
from polysense.training.time_plan import Deadline
from polysense.workflows.folds.plan import FoldPlan
from polysense.workflows.train import train_model

__all__ = ["FOLDS", "FoldModel", "FoldModels", "fold_folder", "fold_recipe", "train_folds"]

FOLDS = "folds"
"""The folder of the folds' models in a run's."""

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
        deadline: When the trainings must be over, that of the delivered model too; each gets an equal part.
    """
    own = fold_recipe(recipe, plan)
    models = FoldModels(plan=plan, recipe=own, folder=folder)
    started, trained = time.monotonic(), 0
    for fold in range(plan.num_folds):
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
    return models


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
