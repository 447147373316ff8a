"""From what the caller gave (a table or a recipe) to a recipe and tables, split."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polysense.config.codec import from_dict
from polysense.config.overrides import apply_overrides
from polysense.core.duration import parse_duration
from polysense.core.files import absolute_path
from polysense.core.json import json_text
from polysense.core.logs import get_logger
from polysense.core.registry import modality, tasks
from polysense.core.registry import task as registry_task
from polysense.core.role import Role
from polysense.core.spelling import enumerated
from polysense.data.augmentation.base import TransformConfig
from polysense.data.config import DataConfig
from polysense.data.joins.config import JoinConfig
from polysense.data.joins.join import Joined
from polysense.data.recipe_paths import PRETRAINED_WORDS
from polysense.data.roles.infer import ColumnGuess, infer
from polysense.data.split import SPLITS, RandomSplitConfig, split
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ConfigError, SplitError
from polysense.nn.backbones import survey
from polysense.presets import PRESETS, default_split, preset_of, recipe_for
from polysense.presets.without_target import inputs_for, recipe_without_target
from polysense.recipe import Recipe, load_recipe
from polysense.workflows.augmentation_safety import safe_transforms
from polysense.workflows.encoder_choice import choose_encoders, log_choices, still_true, with_early
from polysense.workflows.finetune.transfer import like_bundle
from polysense.workflows.joining import configs_before_recipe, join_all, join_for, join_like

__all__ = [
    "Prepared",
    "class_labels",
    "file_stem",
    "is_recipe",
    "prepare",
    "prepare_recipe",
    "pretrained_override",
    "read_allowed",
    "read_joined",
    "split_tables",
]

_LOOKED_AT_FILES = 2_000  # of which a few are opened
_FEWEST_EPOCHS = 3  # however many rows there are

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """A recipe with its tables.

    Attributes:
        recipe: Complete.
        table: The training table as given, before the split.
        guesses: Why each column is what it is, where the recipe was inferred.
        source: The path that was given, for messages and for the run's name.
        encoders: Per input column whose encoder was chosen here, why this one.
        vary: The recipe with further overrides, its encoders chosen anew where these say from what.
    """

    recipe: Recipe
    table: Table
    vary: Callable[[Sequence[str]], Recipe]
    guesses: list[ColumnGuess] = field(default_factory=list)
    source: str = "table"
    encoders: Mapping[str, str] = field(default_factory=dict)


def is_recipe(source: Any) -> bool:
    """Whether a source is a recipe's path (.yaml or .yml)."""
    return isinstance(source, (str, Path)) and Path(source).suffix.lower() in (".yaml", ".yml")


def prepare(
    source: Any,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    overrides: Sequence[str] = (),
    preset: str = "balanced",
    validation: str | Path | None = None,
    test: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    data: Any = None,
    logs: bool = True,
) -> Prepared:
    """Reads or infers the recipe, and reads its table.

    Args:
        source: A recipe's path, a table's path, or a table in memory.
        target: The column or columns to predict, where the source is a table.
        task: "retrieval": nothing is predicted, and the columns named as the target are brought into one space (if none
            are, all texts, images, audio and videos). "reconstruction": the columns named as the target (if none are,
            all) are restored from what is made of all columns.
        overrides: `a.b.c=value` changes of the recipe.
        preset: Which preset an inferred recipe comes from; a time such as "10m" is the preset that is meant for it, and
            the limit of the training.
        validation: A validation table of its own.
        test: A test table of its own.
        columns: Per column what the user says it is.
        data: The table in memory, where the source is a recipe without a table.
        logs: Whether what is guessed of columns is logged, as `infer` has it.

    Raises:
        ConfigError: The recipe or an override is wrong, or no target is named.
        TableError: A table can't be read.
    """
    preset, overrides = _preset_and_time(preset, overrides)
    apart = {"validation": validation, "test": test}
    for key, path in apart.items():
        if path is not None and not isinstance(path, str | Path):
            raise ConfigError(
                f"{key}: found a {type(path).__name__}, expected the path of a table, which recipes keep; write "
                "its rows to a file, or put all rows into one table and split it by a column (data.split.type=column)"
            )
    extra = [f"data.{key}={json_text(absolute_path(path))}" for key, path in apart.items() if path]
    if is_recipe(source):
        if target is not None or columns or task is not None:
            raise ConfigError(f"{source}: a recipe names its targets and columns itself; edit it, or use overrides")
        return prepare_recipe(load_recipe(source, [*extra, *overrides]), data, name=str(source))
    if task is not None and target is not None and task in tasks() and tasks()[task].has_column:
        named = [target] if isinstance(target, str) else target
        columns, task = {**dict.fromkeys(named, str(task)), **(columns or {})}, None
    without_column = [name for name, spec in tasks().items() if not spec.has_column]
    if task is not None and task not in without_column:
        if task not in tasks():
            raise ConfigError(f"task: found {task!r}, expected one of {', '.join(tasks())}")
        raise ConfigError(
            f"task: found {task!r} and no target; name its column with --target COLUMN (target= in Python). The only "
            f"tasks without one are {enumerated(without_column)}"
        )
    if target is None and task is None:
        table = read_table(source)
        raise ConfigError(
            f"{table.name}: no target is named; say what to predict with --target COLUMN (target= in Python). "
            f"Columns: {', '.join(table.names)}"
        )
    joined = read_joined(source, overrides)
    table = joined.table
    # As tables have names, on whichever system they were typed.
    targets = [unicodedata.normalize("NFC", name) for name in ([target] if isinstance(target, str) else target or ())]
    columns = {
        unicodedata.normalize("NFC", name): unicodedata.normalize("NFC", kind)  # audio:COLUMN
        for name, kind in (columns or {}).items()
    }
    guesses = infer(table, [] if task else targets, overrides=columns, logs=logs)
    if task is not None:
        guesses = inputs_for(task, guesses, targets, table)
    on_disk = isinstance(source, (str, Path))
    recipe = recipe_for(
        guesses,
        len(table),
        num_training=_num_training(table, guesses, has_validation=validation is not None, has_test=test is not None),
        preset=preset,
        table=absolute_path(source) if on_disk else None,
        validation=None if validation is None else absolute_path(validation),
        test=None if test is None else absolute_path(test),
        transforms=_transforms(table, guesses),
    )
    recipe = _with_tables(recipe, joined.configs)
    if task is not None:
        recipe = recipe_without_target(task, recipe, guesses, targets, table)
    complete, reasons = _completed(recipe, table, overrides)
    log_choices(reasons, complete)
    return Prepared(
        recipe=complete,
        table=table,
        vary=lambda more: _completed(recipe, table, [*overrides, *more])[0],
        guesses=guesses,
        source=str(source) if on_disk else table.name,
        encoders=reasons,
    )


def _preset_and_time(preset: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The preset's name, and overrides with its time where it is named by one.

    Raises:
        ConfigError: It is named by a time, and another time is given.
    """
    if preset in PRESETS:
        return preset, [*overrides]
    try:
        seconds = parse_duration(preset, "preset")
    except ConfigError:
        return preset, [*overrides]  # it is said where it is looked for
    given = next((one for one in overrides if one.partition("=")[0].strip() == "training.time"), None)
    if given is not None:
        raise ConfigError(f"found the preset {preset} and {given}, expected one of them: both set training.time")
    return preset_of(seconds), [f"training.time={json_text(preset)}", *overrides]


def _num_training(table: Table, guesses: Sequence[ColumnGuess], *, has_validation: bool, has_test: bool) -> int | None:
    """The rows that train, as the table is split by default; None where it can't be split so, which is said later."""
    config = default_split(guesses, len(table), has_validation=has_validation, has_test=has_test)
    try:
        return int((config.assign(table, None, 0) == SPLITS.index("train")).sum())
    except SplitError:
        return None


def _completed(recipe: Recipe, table: Table, overrides: Sequence[str]) -> tuple[Recipe, dict[str, str]]:
    """An inferred recipe with its encoders chosen and overrides applied; and why each encoder is what it is."""
    recipe, choices = choose_encoders(with_early(recipe, overrides), table, overrides)
    recipe = _shorter_where_adapted(recipe, len(table))
    start = recipe.with_overrides(list(overrides)).init_from
    if start is not None:
        recipe = like_bundle(dataclasses.replace(recipe, init_from=start), inferred=True)
    # How tables are joined was settled by the same overrides.
    recipe = _with_tables(recipe.with_overrides(list(overrides)), recipe.data.tables)
    recipe, more = choose_encoders(recipe, table)
    recipe = _unvaried_where_frozen(recipe, overrides)
    return recipe, still_true({**choices, **more}, recipe)


def _with_tables(recipe: Recipe, tables: Mapping[str, JoinConfig]) -> Recipe:
    """The recipe with the tables that its main one was joined to."""
    if not tables:
        return recipe
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, tables=dict(tables)))


def _shorter_where_adapted(recipe: Recipe, num_rows: int) -> Recipe:
    """The recipe with the epochs that its heads need, where all of these came with weights."""
    needed = [head.steps_to_adapt for head in recipe.model.heads.values()]
    if not needed or None in needed:
        return recipe
    training = recipe.training
    steps = max(steps for steps in needed if steps is not None)
    epochs = max(math.ceil(steps / math.ceil(max(num_rows, 1) / training.batch_size)), _FEWEST_EPOCHS)
    return dataclasses.replace(recipe, training=dataclasses.replace(training, epochs=min(training.epochs, epochs)))


def _unvaried_where_frozen(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe without augmentation of columns whose encoders are frozen, where nobody asked for it: what a frozen
    network gives for a cell that stays as it is needs to be computed once only, see `workflows.stored_features`."""
    asked = apply_overrides({}, overrides).get("data")
    is_asked = recipe.data.views is not None or (isinstance(asked, dict) and "transforms" in asked)
    if recipe.data.store == "off" or is_asked:
        return recipe
    frozen = {name for name, encoder in recipe.model.encoders.items() if encoder.is_frozen}
    frozen -= {vars(target).get("over") for target in recipe.data.targets.values() if target.reads_items}
    transforms = {name: each for name, each in recipe.data.transforms.items() if name not in frozen}
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, transforms=transforms))


def prepare_recipe(recipe: Recipe, data: Any = None, *, name: str) -> Prepared:
    """Reads a recipe's table, and makes the recipe complete.

    Args:
        recipe: What to do.
        data: The table in memory or another path, where it is not the recipe's.
        name: What messages call the recipe.

    Raises:
        ConfigError: It names no table.
        TableError: The table can't be read.
    """
    if data is None and recipe.data.table is None:
        raise ConfigError(f"{name}: data.table is not set; add it, or give data.table=PATH")
    table = recipe.data.read(recipe.data.table if data is None else data)
    joined = join_for(recipe.data, table)
    table, recipe = joined.table, _with_tables(recipe, joined.configs)
    if recipe.init_from is not None:
        recipe = like_bundle(recipe, inferred=False)
    complete, choices = choose_encoders(recipe, table)
    reasons = still_true(choices, complete)
    log_choices(reasons, complete)
    return Prepared(
        recipe=complete,
        table=table,
        vary=lambda more: choose_encoders(recipe.with_overrides(list(more)), table)[0],
        source=name,
        encoders=reasons,
    )


def pretrained_override(pretrained: str | Path | None) -> list[str]:
    """What `--pretrained` says, as overrides of a recipe.

    Raises:
        ConfigError: It names nothing.
        WeightsError: There is no such folder.
    """
    if pretrained is None:
        return []
    if str(pretrained) in PRETRAINED_WORDS or not str(pretrained).strip():
        return [f"pretrained={json_text(str(pretrained))}"]
    folder = Path(pretrained).expanduser()
    survey(folder)  # before a large table is read, and though no column may have a backbone
    return [f"pretrained={json_text(absolute_path(folder))}"]


def read_allowed(source: Any, overrides: Sequence[str]) -> Table:
    """A table whose cells may name what overrides allow, before there is a recipe; errors as of `read_table`."""
    data = apply_overrides({}, overrides).get("data")
    data = data if isinstance(data, dict) else {}
    return read_table(
        source,
        allow_outside=data.get("allow_outside") is not False,
        allow_urls=data.get("allow_urls") is True,
    )


def read_joined(source: Any, overrides: Sequence[str]) -> Joined:
    """A table, joined to those that are given with it or that the overrides name, before there is a recipe.

    Raises:
        TableError: A table can't be read or joined.
        ConfigError: An override of a joined table is wrong.
    """
    table = read_allowed(source, overrides)
    return join_all(configs_before_recipe(overrides, table), table, partial(read_allowed, overrides=overrides))


def _transforms(table: Table, guesses: Sequence[ColumnGuess]) -> dict[str, TransformConfig]:
    """Per input column how its cells are varied in training, by what they are."""
    transforms = {}
    first = np.arange(min(len(table), _LOOKED_AT_FILES))
    for guess in guesses:
        if guess.role is Role.INPUT and guess.modality is not None:
            cells = table.some_cells(first, guess.column or guess.name)
            plain = modality(guess.modality).default_augmentation(cells, table.root_of(guess.column or guess.name))
            if plain is not None:
                transforms[guess.name] = from_dict(TransformConfig, plain, where=f"data.transforms.{guess.name}")  # type: ignore[type-abstract]
    return safe_transforms(transforms, table, guesses)


def file_stem(source: str) -> str:
    """What a folder that is made for a source is called."""
    return re.sub(r"[^\w.-]+", "_", Path(source).stem)[:60] or "table"


def class_labels(config: DataConfig, table: Table) -> Sequence[object] | None:
    """The cells of the first target where they are classes, to stratify by; else None."""
    first = next(iter(config.targets.items()), None)
    if first is None or not registry_task(first[1].task).has_classes:
        return None
    (column,) = first[1].sources(first[0])
    table.require(column, "target column")
    return table.cells(column, literal=True)


def split_tables(config: DataConfig, table: Table, seed: int) -> dict[str, Table]:
    """The tables to train on, validate on and test on; the last two may be missing.

    A table given apart is taken whole, and then no rows of the training table are set aside for that part, unless a
    split column says so.
    """
    strategy = config.split
    if isinstance(strategy, RandomSplitConfig):
        strategy = dataclasses.replace(
            strategy,
            validation=0.0 if config.validation else strategy.validation,
            test=0.0 if config.test else strategy.test,
        )
    labels = class_labels(config, table)
    positions = split(table, strategy, labels=labels, seed=seed)
    tables = {name: table.select(rows) for name, rows in positions.items()}
    if strategy.in_time:
        earlier = np.zeros(0, dtype=np.int64)
        for name in SPLITS[1:]:  # what trains is known anyway
            tables[name] = tables[name].changed(before=table.select(earlier).changed(sides={}))
            earlier = np.concatenate([earlier, positions[name]])
    for name, path in (("validation", config.validation), ("test", config.test)):
        if path is not None:
            tables[name] = join_like(config, config.read(path), table)
    return {name: part for name, part in tables.items() if len(part)}
