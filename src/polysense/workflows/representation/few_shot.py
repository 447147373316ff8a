"""Few-shot classification: how much of a column a trained model's frozen features know already."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysense.bundle import Bundle, as_bundle
from polysense.core.registry import task
from polysense.core.sample import Unreadable
from polysense.data.media.paths import ConfinedFolder, OnlineFolder
from polysense.data.roles.infer import guess_target
from polysense.data.roles.profile import ColumnProfile
from polysense.data.split import FractionSplitConfig, split
from polysense.data.tables.sources import Table, read_table
from polysense.data.values.classes import Classes
from polysense.errors import ColumnError, ConfigError, DecodeError, TableError
from polysense.escaping import joined
from polysense.evaluation.few_shot import RANDOM, TRAINED, FewShot, measure_shots
from polysense.evaluation.probes import ALL_METHODS, METHODS
from polysense.reports.few_shot import few_shot_table, render_few_shot
from polysense.reports.terminal_tables import plain_text
from polysense.workflows.evaluating import within
from polysense.workflows.prepare import split_tables
from polysense.workflows.representation.features import Features, choose_features, features, random_model
from polysense.workflows.table_split import is_same, recipe_of
from polysense.workflows.written_page import write_page

__all__ = ["SHOTS", "Shots", "fewshot"]

SHOTS: tuple[int | None, ...] = (1, 2, 4, 8, 16)
"""Labeled rows per class, if nothing else is asked for; None stands for all."""

_FEWEST_DRAWS = 2


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Shots:
    """What `fewshot` found.

    Attributes:
        measured: Every accuracy.
        unreadable: Cells that could not be read; they count as missing.
    """

    measured: FewShot
    unreadable: tuple[Unreadable, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return self.measured.as_json() | {"unreadable": [cell.as_dict() for cell in self.unreadable]}

    def text(self) -> str:
        """For people."""
        return joined([*plain_text(few_shot_table(self.measured)).splitlines(), *self.measured.remarks()])

    def write(self, path: Path | str) -> list[Path]:
        """Writes a page (.html), the figures (.json), or into a folder both.

        Returns:
            What was written.

        Raises:
            TableError: A file can't be written.
        """
        return write_page(path, "fewshot", lambda: render_few_shot(self.measured), self.as_json)


def fewshot(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    target: str,
    shots: Sequence[int | None] = SHOTS,
    draws: int = 5,
    columns: Sequence[str] | None = None,
    methods: Sequence[str] = METHODS,
    features_of: str = "auto",
    test: Any = None,
    root: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Shots:
    """Classifies with few labeled rows on a model's frozen features, and with those of a random encoder beside it.

    Labeled rows are drawn from the training split, as the model's recipe splits the table, and tested on its test
    split; on the validation split where there is none.

    Args:
        bundle: Any bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        target: The column of labels; the model need not know it, and none of its inputs may hold it.
        shots: Labeled rows per class; None takes all, which with the linear probe is the usual measure of a
            representation.
        draws: Number of random draws for each number of shots.
        columns: The model's input columns to read; None: all, or all that share the space.
        methods: "prototypes", "linear_probe", "knn"; and where classes are uneven (shots None) "balanced_probe",
            "smote_probe", "smote_only", "gan_probe", "gan_only".
        features_of: "space": embeddings in the joint embedding space, "code": what columns are reconstructed from,
            "fused": the summary of all columns,
            "tokens": the mean of each encoder's tokens; "auto": the first of these that there is; "vectors": what
            `data.features` makes of cells without an encoder.
        test: A table to test on, where the labeled rows may be any of `source`.
        root: The folder that media paths are relative to; by default the table's own.
        seed: Of the draws and of the random encoder.
        progress: Called with the rows that are done, and all; those of all splits together.

    Raises:
        ConfigError: A setting is wrong, or an input column holds the labels.
        ColumnError: The target holds no classes.
        UserError: The bundle or the table can't be read.
    """
    _check(shots, draws, methods)
    loaded = as_bundle(bundle)
    requested = choose_features(loaded, features_of, columns)
    table = loaded.read(source, root=root, also=[target])
    table.require(target, "target column")
    _check_target(loaded, table, target, requested)
    parts = _split(loaded, table, target, test)
    if "train" not in parts:
        raise TableError(f"{table.name}: has no training rows to draw labeled ones from")
    held_out = "test" if "test" in parts else "validation"
    if held_out not in parts:
        raise ConfigError(
            f"{table.name}: the split leaves neither test nor validation rows; name a table to test on (--test)"
        )
    notes = [] if held_out == "test" else ["there is no test split: tested on the validation rows"]
    parts[held_out].require(target, "target column")
    train_table, test_table = parts["train"], parts[held_out]
    classes, train_labels = _train_labels(train_table, target, _labels(loaded, train_table, target))
    test_labels, unknown = _test_labels(classes, _labels(loaded, test_table, target))

    models = [loaded.model.eval(), random_model(loaded, seed)]
    total = len(train_table) + len(test_table)
    train_features, first = features(models, loaded, train_table, requested, progress=within(progress, 0, total))
    test_features, second = features(
        models, loaded, test_table, requested, progress=within(progress, len(train_table), total)
    )
    usable = (train_labels >= 0) & _there(train_features[0])
    tested = (test_labels >= 0) & _there(test_features[0])
    if unknown:
        notes.append(f"{unknown} {held_out} rows are of a class that no training row has, and are left out")
    for name, labels, there in (
        ("training", train_labels, train_features[0]),
        (held_out, test_labels, test_features[0]),
    ):
        lacking = int(((labels >= 0) & ~_there(there)).sum())
        if lacking:
            notes.append(f"{lacking} labeled {name} rows have none of the columns, and are left out")
    if not tested.any():
        raise TableError(f"{test_table.name}: no {held_out} row has both a label in {target!r} and the columns")
    class_ids, chosen = np.unique(train_labels[usable], return_inverse=True)
    if len(class_ids) < 2:
        raise ColumnError(f"{train_table.name}, column {target!r}: fewer than two classes have a row with the columns")
    # Classes whose training rows all lack the columns can't be named.
    position = np.full(len(classes.names), -1)
    position[class_ids] = np.arange(len(class_ids))
    tested &= position[np.maximum(test_labels, 0)] >= 0
    counts = np.bincount(chosen, minlength=len(class_ids))
    truth = position[test_labels[tested]]
    scores = measure_shots(
        _filled(train_features, train_features, usable),
        chosen,
        _filled(test_features, train_features, tested, usable),
        truth,
        num_classes=len(class_ids),
        shots=list(dict.fromkeys(shots)),
        methods=list(dict.fromkeys(methods)),
        num_draws=draws,
        seed=seed,
    )
    measured = FewShot(
        target=target,
        features=requested.description,
        classes=tuple(classes.names[i] for i in class_ids),
        class_counts=tuple(counts.tolist()),
        shots=tuple(dict.fromkeys(shots)),
        methods=tuple(dict.fromkeys(methods)),
        num_draws=draws,
        split=held_out,
        num_test=len(truth),
        scores=scores,
        majority=float((truth == counts.argmax()).mean()),
        notes=tuple(notes),
    )
    return Shots(measured=measured, unreadable=(*first, *second))


def _check(shots: Sequence[int | None], draws: int, methods: Sequence[str]) -> None:
    if not shots or any(count is not None and count < 1 for count in shots):
        raise ConfigError(f"shots: expected whole numbers from 1 on, or all; found {list(shots)}")
    if draws < _FEWEST_DRAWS:
        raise ConfigError(f"draws: expected at least {_FEWEST_DRAWS}, for an interval; found {draws}")
    if not methods or (wrong := [name for name in methods if name not in ALL_METHODS]):
        raise ConfigError(
            f"methods: expected some of {', '.join(ALL_METHODS)}; found {wrong[0] if methods else 'none'!r}"
        )


def _check_target(bundle: Bundle, table: Table, target: str, requested: Features) -> None:
    """That the target holds classes, and that no input gives them away."""
    reads = [name for name in requested.columns if bundle.schema.column(name).table_column == target]
    if reads:
        others = [name for name in bundle.schema.names if name not in reads]
        hint = f"; read other columns: --columns {','.join(others)}" if others else ""
        raise ConfigError(f"column {target!r} is an input of the model, which would read the labels off it{hint}")
    own = next(
        (one for one in bundle.schema.targets if target in one.columns and task(one.task).has_column),
        None,
    )
    if own is not None and task(own.task).has_classes:
        return
    guess = guess_target(ColumnProfile(table, target, literal=True))
    kind = guess.task if own is None else own.task
    if kind is None or not task(kind).has_classes:
        raise ColumnError(
            f"{table.name}, column {target!r}: few-shot classification needs classes, one per row, and this is "
            f"{guess.reason}. Make classes of it (cut numbers into ranges; spell codes as texts)"
        )


def _split(bundle: Bundle, table: Table, target: str, test: Any) -> dict[str, Table]:
    """The table's parts, as the model was trained with them where it is the same table."""
    if test is not None:
        is_confined, is_online = (isinstance(table.root, kind) for kind in (ConfinedFolder, OnlineFolder))
        other = read_table(test, allow_outside=not is_confined, allow_urls=is_online)
        return {
            "train": table,
            "test": bundle.read(dataclasses.replace(other, sides={**table.sides, **other.sides}), also=[target]),
        }
    recipe = recipe_of(bundle)
    strategy = FractionSplitConfig() if recipe is None else recipe.data.split
    seed = 0 if recipe is None else recipe.training.seed
    if recipe is not None and recipe.data.table is not None and is_same(recipe.data.table, table):
        return split_tables(recipe.data, table, seed)
    labels = _labels(bundle, table, target)
    parts = {name: table.select(rows) for name, rows in split(table, strategy, labels=labels, seed=seed).items()}
    return {name: part for name, part in parts.items() if len(part)}


def _labels(bundle: Bundle, table: Table, target: str) -> Sequence[object]:
    """The column's cells, cleaned as those of the model's own target are where it is that."""
    cells = table.cells(target, literal=True)
    own = next((each for each in bundle.processor.targets.values() if tuple(each.columns) == (target,)), None)
    return cells if own is None else [own.cleaner.cell(cell) for cell in cells]


def _train_labels(table: Table, target: str, cells: Sequence[object]) -> tuple[Classes, np.ndarray]:
    classes, _ = Classes.learn(
        f"{table.name}, column {target!r}", target, [c for c in cells if c is not None], None, None
    )
    if len(classes.names) < 2:
        raise ColumnError(f"{table.name}, column {target!r}: all training rows are {classes.names[0]!r}")
    return classes, np.array([-1 if cell is None else classes.find(cell) for cell in cells], dtype=np.int64)


def _test_labels(classes: Classes, cells: Sequence[object]) -> tuple[np.ndarray, int]:
    """Class ids, -1 where there is none, and how many rows are of a class that training lacks."""
    labels, unknown = np.full(len(cells), -1, dtype=np.int64), 0
    for i, cell in enumerate(cells):
        if cell is None:
            continue
        try:
            labels[i] = classes.find(cell)
        except DecodeError:
            unknown += 1
    return labels, unknown


def _there(values: np.ndarray) -> np.ndarray:
    """Which rows have any of the columns."""
    present: np.ndarray = ~np.isnan(values).all(axis=1)
    return present


def _filled(
    values: list[np.ndarray], training: list[np.ndarray], rows: np.ndarray, usable: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Some rows' features per encoder; what a row lacks is what training rows have on average, and so says nothing."""
    completed = {}
    for name, own, seen in zip((TRAINED, RANDOM), values, training, strict=True):
        known = seen[rows if usable is None else usable]
        there = ~np.isnan(known)
        means = np.where(there, known, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        completed[name] = np.where(np.isnan(own[rows]), means, own[rows])
    return completed
