"""A run's folder: who may write to it, what has been begun there, and whether it may be resumed.

    polysense train TABLE ... -o RUN --resume     starts the run, or resumes it, wherever it was stopped
    polysense train RUN --resume                  resumes it, once run.json is there

`run.json` is the first file of a run: the recipe and a fingerprint of the tables that it was started with. It says that
the rest is a run's, so that a start that was killed is told from a folder with somebody's own recipe.yaml. Until a
checkpoint is there nothing has been trained, and the start is done again; from then on the run resumes, and what
differs from run.json is a reason to refuse. A folder is locked while a process writes to it (`core.lock`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from polysense.config.codec import from_dict, parse_yaml
from polysense.core.files import sweep, write_text
from polysense.core.json import read_json, write_json
from polysense.core.lock import LOCK_FILE, locked, require_unlocked
from polysense.core.logs import get_logger
from polysense.core.version import VERSION
from polysense.data.recipe_paths import absolute_paths
from polysense.data.tables.fingerprint import table_changes, table_fingerprint
from polysense.data.tables.sources import Table
from polysense.errors import CheckpointError, ConfigError
from polysense.recipe import Recipe, load_recipe
from polysense.training.state import checkpoint_path, has_checkpoint
from polysense.workflows.joining import side_tables, unjoined

__all__ = ["RECORD", "RunFolder", "RunRecord"]

RECORD = "run.json"
"""The file that makes a folder a run's."""

_RECIPE = "recipe.yaml"
_FORMAT = 3
# What a start may leave before its first checkpoint; a folder may hold other files, which are not ours to remove.
_BEGUN = (
    "bundle", "checkpoints", "baselines", "folds", "tensorboard", "log.jsonl", "train.log", "samples.html",
    "samples.jsonl", "environment.json", "impute.json", "init_from.json", "folds.json", "reading.json",
)  # fmt: skip
# Keys that change nothing of what is trained, or that a run is resumed for. Tables are compared by their cells,
# `pretrained` by the encoders that it led to.
_FREE = (
    "data.table", "data.validation", "data.test", "data.root", "data.cache", "data.store", "data.num_workers",
    "training.epochs", "training.time", "training.early_stopping", "training.device", "training.num_threads",
    "training.log_every", "training.tensorboard", "training.checkpoint_every_steps",
    "training.checkpoint_every_minutes", "evaluation.bootstrap", "evaluation.contribution",
    "evaluation.contribution_rows", "evaluation.baselines", "evaluation.report",
    "evaluation.simple_baselines", "evaluation.simple_baseline_rows", "pretrained", "audit",
)  # fmt: skip

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class RunRecord:
    """What a run was started with.

    Attributes:
        recipe: As YAML, without comments.
        tables: Fingerprints: "table", "validation" and "test" where they are tables of their own, and "tables.NAME" of
            those that are joined.
        version: polysense's.
        encoders: Per input column whose encoder was chosen when the run started, why this one.
    """

    recipe: str
    tables: Mapping[str, Any]
    version: str = VERSION
    encoders: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        recipe: Recipe,
        table: Table,
        tables: Mapping[str, Table],
        folder: Path,
        encoders: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """The record of a run that is about to start or to resume.

        Args:
            recipe: Complete.
            table: As read.
            tables: Per split.
            folder: The run's, which the recipe's paths start from.
            encoders: Reasons, of a run that is about to start.
        """
        fingerprints = {"table": table_fingerprint(unjoined(table))}
        for name, path in (("validation", recipe.data.validation), ("test", recipe.data.test)):
            if path is not None and name in tables:
                fingerprints[name] = table_fingerprint(unjoined(tables[name]))
        for name, side in side_tables(recipe.data, table).items():
            fingerprints[f"tables.{name}"] = table_fingerprint(side)
        plain = recipe.relative_to(folder).to_yaml(comments=False)
        return RunRecord(recipe=plain, tables=fingerprints, encoders=encoders or {})

    def changes(self, now: RunRecord) -> list[str]:
        """What is not as it was, as far as it changes what is trained."""
        results = []
        for name in [*self.tables, *(name for name in now.tables if name not in self.tables)]:
            if name not in now.tables or name not in self.tables:
                results.append(f"data.{name} was {'not ' if name in now.tables else ''}given")
            elif change := table_changes(self.tables[name], now.tables[name]):
                results.append(f"data.{name} has changed: {change}")
        old, new = (dict(_flat(parse_yaml(record.recipe))) for record in (self, now))
        for key in [*old, *(key for key in new if key not in old)]:
            if old.get(key) != new.get(key) and not _is_free(key):
                was, value = (_short(values[key]) if key in values else "not there" for values in (old, new))
                results.append(f"{key} was {was} and is {value}")
        return results


class RunFolder:
    """The files by which a run's folder says what has been done in it.

    Args:
        path: The folder; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_trained(self) -> bool:
        """Whether there is something of a training that would be lost; of one of the folds' too."""
        return any(has_checkpoint(path) or _has_model(path) for path in (self.path, *self.path.glob("folds/*")))

    def recipe(self, overrides: Sequence[str] = ()) -> Recipe:
        """The recipe of the run: recipe.yaml, or run.json's where a kill came before that file.

        Raises:
            ConfigError: It can't be read, or an override is wrong.
        """
        path = self.path / _RECIPE
        if path.is_file():
            return load_recipe(path, [*overrides])
        record = self.record()
        assert record is not None, f"{self.path} holds no run"
        where = str(self.path / RECORD)
        plain = absolute_paths(parse_yaml(record.recipe, where), self.path.resolve())
        return from_dict(Recipe, plain, where=where).with_overrides([*overrides])

    def record(self) -> RunRecord | None:
        """What the run was started with; None where none was begun.

        Raises:
            CheckpointError: The folder holds a run of an earlier version, or its record is broken.
        """
        path = self.path / RECORD
        try:
            plain = read_json(path, dict)
            if plain["format"] != _FORMAT:
                raise CheckpointError(
                    f"{path}: a run of polysense {plain['polysense']} in format {plain['format']}; this version "
                    f"resumes format {_FORMAT}: resume it with the version that started it"
                )
            return RunRecord(
                recipe=plain["recipe"],
                tables=plain["tables"],
                version=plain["polysense"],
                encoders={str(name): str(why) for name, why in plain["encoders"].items()},
            )
        except FileNotFoundError:
            if (self.path / _RECIPE).exists() or self.is_trained:
                raise CheckpointError(
                    f"{self.path}: holds no {RECORD}, so it is no run, or one of an earlier version; resume it with "
                    "the version that started it, or take another folder"
                ) from None
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(
                f"{path}: can't be read, so the run can't be resumed: {error}; put back a copy of this file, or start "
                "a new run in another folder"
            ) from error

    def require_free(self, *, locked: bool = False) -> None:
        """Checks that a run can start here: nothing is there, or a start that was killed before it trained.

        Args:
            locked: Whether it is this process that has the folder.

        Raises:
            ConfigError: A run is there, or the folder is a file.
            LockedError: Another process is at work here.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path}: is a file, expected a folder for the run")
        if not locked:
            require_unlocked(self.path)
        if self.is_trained or ((self.path / _RECIPE).exists() and not (self.path / RECORD).exists()):
            raise ConfigError(
                f"{self.path}: holds a run already; give another folder with -o, or go on with it by --resume"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within it, nobody else writes here. A start that fails before it trains leaves the folder as it was.

        Raises:
            LockedError: Another process is at work here.
        """
        is_new = not self.path.exists()
        with locked(self.path):
            before = {path.name for path in self.path.iterdir()}
            sweep(self.path)
            try:
                yield
            except BaseException:
                if not self.is_trained and not (self.path / "log.jsonl").exists():
                    self._clean(() if is_new else before | {LOCK_FILE})
                raise

    def begin(self, record: RunRecord, recipe: Recipe) -> None:
        """Writes the first files of a run, in place of those of a start that was killed."""
        if (self.path / RECORD).exists():  # else what has these names is not ours
            for name in (*_BEGUN, _RECIPE):
                path = self.path / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self._write(record, recipe)

    def resume(self, record: RunRecord, now: RunRecord, recipe: Recipe, *, accept_changes: bool) -> None:
        """Checks that a run may go on with a recipe and tables.

        Args:
            record: What it was started with.
            now: What it would go on with.
            recipe: Complete.
            accept_changes: Whether changes are only told.

        Raises:
            CheckpointError: Something has changed, or the checkpoint is gone.
        """
        if _has_model(self.path) and not has_checkpoint(self.path):
            raise CheckpointError(
                f"{self.path}: holds a trained model and no checkpoint to resume from "
                f"({checkpoint_path(self.path)} is gone); start a new run in another folder"
            )
        changes = record.changes(now)
        if changes and not accept_changes:
            version = "" if record.version == VERSION else f" It was started with polysense {record.version}."
            raise CheckpointError(
                f"{self.path}: not what the run was started with: {'; '.join(changes)}.{version} Resume it with what "
                "it was started with, start a new run, or accept them with --accept-changes (accept_changes=True)"
            )
        if changes:
            _log.warning("resuming with changes, so not as if the run had never stopped: %s", "; ".join(changes))
            for name in ("baselines", "folds"):  # of what was before
                shutil.rmtree(self.path / name, ignore_errors=True)
        if changes or record.recipe != now.recipe or not (self.path / _RECIPE).exists():
            self._write(replace(now, encoders={**record.encoders, **now.encoders}), recipe)

    def _write(self, record: RunRecord, recipe: Recipe) -> None:
        facts = {
            "format": _FORMAT,
            "polysense": record.version,
            "recipe": record.recipe,
            "tables": record.tables,
            "encoders": record.encoders,
        }
        write_json(self.path / RECORD, facts)
        write_text(self.path / _RECIPE, recipe.relative_to(self.path).to_yaml())

    def _clean(self, retained: Sequence[str] | set[str]) -> None:
        """Removes what this process made; the folder too where nothing is to stay."""
        if not retained:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for path in list(self.path.iterdir()):
            if path.name not in retained:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _has_model(folder: Path) -> bool:
    return (folder / "bundle" / "bundle.json").exists()


def _is_free(key: str) -> bool:
    if key.startswith("data.tables.") and key.endswith(".table"):
        return True
    return any(key == free or key.startswith(f"{free}.") for free in _FREE)


def _flat(plain: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a recipe by its dotted key; what holds nothing is a value too."""
    if isinstance(plain, Mapping) and plain:
        for key, below in plain.items():
            yield from _flat(below, f"{where}.{key}" if where else str(key))
    else:
        yield where, plain


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
