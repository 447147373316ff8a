"""One training of a comparison: run it, measure it, keep what was found, and know whether it was done before.

A folder belongs to exactly one recipe, one table and one version of polysense: the hash of these stands in it. So a
finished training is read, an interrupted one resumes from its checkpoint, and what another recipe left there is never
taken for this one's.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysense.bundle import Bundle
from polysense.config.codec import to_dict
from polysense.core.files import write_text
from polysense.core.json import json_text, read_json, write_json
from polysense.core.logs import get_logger
from polysense.core.metric import Statistics
from polysense.core.schema import Target
from polysense.core.version import VERSION
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.errors import CheckpointError
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.statistics_file import read_statistics, write_statistics
from polysense.recipe import Recipe
from polysense.training.state import has_checkpoint
from polysense.workflows.evaluating import evaluate_model
from polysense.workflows.finetune.transfer import model_mark
from polysense.workflows.fitted_data import FittedData, fit_data
from polysense.workflows.stored_features import store_for_bundle
from polysense.workflows.train import train_model

__all__ = ["HELD_OUT", "Trial", "TrialRunner", "fingerprint", "read_predictions", "read_result", "remove_checkpoints"]

HELD_OUT = ("validation", "test")

# Of a recipe's data, what acts after rows are read. Any other key counts, so that a new one is never forgotten.
_READ_ALIKE = frozenset({"transforms", "views", "modality_dropout", "store"})

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What to train.

    Attributes:
        name: The variant's.
        seed: Of this training.
        recipe: Complete, with the seed.
        folder: Its own.
        identity: The hash that a finished result must bear to count.
    """

    name: str
    seed: int
    recipe: Recipe
    folder: Path
    identity: str

    @staticmethod
    def of(name: str, seed: int, recipe: Recipe, folder: Path, table: str) -> Trial:
        """A variant's training with one seed.

        Args:
            name: The variant's.
            seed: Of the training; the split of the rows does not depend on it.
            recipe: The variant's.
            folder: Its own.
            table: What `fingerprint` says of the tables.
        """
        own = dataclasses.replace(
            recipe,
            training=dataclasses.replace(recipe.training, seed=seed, tensorboard=False),
            evaluation=dataclasses.replace(
                recipe.evaluation,
                baselines=False,
                simple_baselines=False,
                contribution=False,
                report=False,
                samples=0,
                folds=0,
            ),
        )
        plain = to_dict(own)
        for key in ("table", "validation", "test", "root"):  # moving a table changes nothing; its cells are in `table`
            plain["data"].pop(key)
        if own.data.impute is not None:  # the same path may hold another model by now
            plain["data"]["impute"] = model_mark(own.data.impute)
        if own.init_from is not None:
            plain["init_from"]["bundle"] = model_mark(own.init_from.bundle)
        content = json_text([VERSION, table, plain], sort_keys=True)
        return Trial(
            name=name,
            seed=seed,
            recipe=own,
            folder=folder,
            identity=hashlib.sha256(content.encode()).hexdigest(),
        )


def fingerprint(tables: Mapping[str, Table]) -> str:
    """A hash of every cell of the split tables; media files count by their path."""
    digest = hashlib.sha256()
    for name, table in sorted(tables.items()):
        digest.update(f"{name}\0{len(table)}".encode())
        for column in table.names:
            digest.update(f"\0{column}\0{table.dtype(column)}\0".encode())
            digest.update(table.column(column).hash().to_numpy().tobytes())
    return digest.hexdigest()


def read_result(trial: Trial, *, with_model: bool = False) -> dict[str, Any] | None:
    """What a finished training left; None where there is none, or where it is another's.

    Args:
        trial: Which one.
        with_model: Whether it counts only if its model was saved too.
    """
    try:
        result = read_json(trial.folder / "result.json", dict)
    except (OSError, ValueError):
        return None
    if result.get("identity") != trial.identity:
        return None
    complete = (trial.folder / "predictions.npz").is_file()
    return result if complete and (not with_model or (trial.folder / "bundle" / "bundle.json").is_file()) else None


def remove_checkpoints(trial: Trial) -> None:
    """A finished training needs none."""
    shutil.rmtree(trial.folder / "checkpoints", ignore_errors=True)


def read_predictions(
    trial: Trial, split: str, targets: Sequence[Target]
) -> tuple[np.ndarray, Mapping[str, Statistics]]:
    """The rows of a finished training, and what its predictions left behind, by target."""
    return read_statistics(trial.folder / "predictions.npz", split, targets)


class TrialRunner:
    """Trains one after another, and keeps the fitted preprocessing and the decoded rows for the next one.

    Args:
        tables: Per split, the same for all.
        evaluated_split: The split whose metrics get an interval over rows.
        keep: Whether to save each model.
    """

    def __init__(self, tables: Mapping[str, Table], evaluated_split: str, *, keep: bool) -> None:
        self._tables, self._evaluated_split, self._keep = tables, evaluated_split, keep
        self._key = ""
        self._data: FittedData | None = None
        self._held_out: dict[str, TableDataset] = {}

    def run(self, trial: Trial) -> dict[str, Any]:
        """Trains, or goes on with, one of them.

        Returns:
            The content of its result.json.

        Raises:
            PolysenseError: It can't be trained.
            TrainingInterrupted: Ctrl-C; the state was saved.
        """
        record = read_result(trial, with_model=self._keep)
        if record is not None:
            return record
        folder = trial.folder
        data = self._fitted(trial.recipe)
        train = functools.partial(
            train_model, trial.recipe, self._tables, folder, progress=False, data=data, save=self._keep
        )
        try:
            bundle, result, _ = train(resume=_begin(trial))
        except CheckpointError as error:
            _log.warning("%s, seed %d: begins anew: %s", trial.name, trial.seed, error)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            bundle, result, _ = train()
        evaluations = {split: self._evaluate(bundle, split, trial) for split in self._held_out}
        write_statistics(folder / "predictions.npz", evaluations)
        record = {
            "identity": trial.identity,
            "name": trial.name,
            "seed": trial.seed,
            "parameters": bundle.info["parameters"],
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "seconds": result.seconds,
            "samples_per_second": result.samples_per_second,
            "metrics": {split: evaluation.as_metrics_json() for split, evaluation in evaluations.items()},
        }
        write_json(folder / "result.json", record)  # last: it says that the rest is there
        remove_checkpoints(trial)
        return record

    def _fitted(self, recipe: Recipe) -> FittedData:
        """Fitted preprocessing for a recipe: that of the last one, if nothing that it depends on has changed."""
        data = recipe.data
        requirements = (recipe.model.requirements(recipe.data.modalities), recipe.model.target_requirements())
        parts: tuple[Any, ...] = requirements
        if any(target.lies_in_input for target in data.targets.values()):  # which not every transform leaves defined
            parts = (*parts, data.transforms)
        if data.impute is not None:  # what it may read depends on what heads are kept from reading
            parts = (*parts, recipe.model.heads)
        if recipe.init_from is not None:  # what moves, and brings its preprocessing, depends on the model too
            parts = (*parts, recipe.init_from, recipe.model)
        plain = {key: value for key, value in to_dict(data).items() if key not in _READ_ALIKE}
        key = json_text([plain, *(to_dict(part) for part in parts)], sort_keys=True)
        if self._data is None or key != self._key:
            self._data, self._held_out = None, {}  # first, so that two tables are never in memory at once
            self._data, self._key = fit_data(recipe, self._tables), key
            if self._data.validation is not None:
                self._held_out["validation"] = self._data.validation
            if "test" in self._tables:
                cache = self._data.train.cache_bytes
                self._held_out["test"] = TableDataset(self._tables["test"], self._data.processor, cache_bytes=cache)
        return self._data

    def _evaluate(self, bundle: Bundle, split: str, trial: Trial) -> Evaluation:
        bundle.model.eval()
        store_for_bundle(bundle, [self._held_out[split]])
        return evaluate_model(
            bundle.model,
            self._held_out[split],
            prediction=bundle.prediction,
            bootstrap=trial.recipe.evaluation.bootstrap if split == self._evaluated_split else 0,
            seed=trial.seed,
        )


def _begin(trial: Trial) -> bool:
    """Makes the folder ready; whether an interrupted training of the same recipe is to go on in it."""
    folder, mark = trial.folder, trial.folder / "identity"
    own = mark.is_file() and mark.read_text(encoding="utf-8").strip() == trial.identity
    if folder.exists() and not own:
        _log.warning("%s, seed %d: %s is of another recipe or table and is replaced", trial.name, trial.seed, folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(mark, trial.identity + "\n")
    write_text(folder / "recipe.yaml", trial.recipe.relative_to(folder).to_yaml(comments=False))
    return has_checkpoint(folder)
