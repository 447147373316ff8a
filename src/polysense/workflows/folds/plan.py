"""Folds of a table: which rows each model trains on, which choose its epoch, and which it is judged on.

Every row that is not in a given test is judged once, by the model of its fold. The other folds' rows are split once
more, by the table's own rule (classes in proportion, groups whole): most train, the rest chooses the epoch, the
temperature and the experts' weights. So no choice sees a row that it is judged on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

import numpy as np

from polysense.core.random import generator
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.stratified_folds import stratified_folds
from polysense.data.config import DataConfig
from polysense.data.split import SPLITS, RandomSplitConfig, SplitConfig, groups_of
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import ConfigError, DecodeError, SplitError
from polysense.recipe import Recipe
from polysense.workflows.fitted_data import fit_processor
from polysense.workflows.joining import join_like
from polysense.workflows.prepare import class_labels, split_tables

__all__ = ["FoldPlan", "first_tables", "plan_folds"]

_FOR_FEATURES = 20
"""Cells of a column that feature vectors are learned from where only the classes are asked for."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FoldPlan:
    """Which row is what in which fold.

    Attributes:
        rows: The rows that are judged and, at last, trained on: the table without those of a given test.
        fold_of: int64 [rows], the fold of each, from 0; -1 of rows that no model is trained to judge.
        groups: int64 [rows], the group of each, which no fold divides; None: rows are on their own.
        chooses: Per fold bool [rows], which choose within it; none where the validation is a table of its own.
        validation: A validation table of its own, which chooses in every fold.
        test: The rows of a given test.
        split: How the table is split where all rows train.
        classes: Per target its classes over all rows, so that all folds have the same.
    """

    rows: Table
    fold_of: np.ndarray
    groups: np.ndarray | None
    chooses: tuple[np.ndarray, ...]
    validation: Table | None
    test: Table | None
    split: SplitConfig
    classes: Mapping[str, tuple[str, ...]]

    @property
    def num_folds(self) -> int:
        """How many models are trained for the score."""
        return len(self.chooses)

    def judged(self, fold: int) -> np.ndarray:
        """The rows that a fold's model is judged on; int64, ascending."""
        return np.flatnonzero(self.fold_of == fold)

    def trains(self, fold: int) -> np.ndarray:
        """The rows that it trains on; int64, ascending."""
        return np.flatnonzero((self.fold_of != fold) & ~self.chooses[fold])

    def tables(self, fold: int) -> dict[str, Table]:
        """A fold's own split: "train", "validation" where any rows choose, and as "test" the rows that are judged."""
        own = np.flatnonzero(self.chooses[fold])
        validation = self.validation if self.validation is not None else self.rows.select(own) if len(own) else None
        return {
            "train": self.rows.select(self.trains(fold)),
            **({} if validation is None else {"validation": validation}),
            "test": self.rows.select(self.judged(fold)),
        }

    @cached_property
    def judged_rows(self) -> np.ndarray:
        """The rows that any fold's model is judged on; int64, ascending."""
        return np.flatnonzero(self.fold_of >= 0)

    def shortened(self, num_folds: int) -> FoldPlan:
        """The plan with the first folds alone; rows of the others train and are not judged."""
        fold_of = np.where(self.fold_of < num_folds, self.fold_of, -1)
        return replace(self, fold_of=fold_of, chooses=self.chooses[:num_folds])

    def sentence(self) -> str:
        """What is going to be trained and judged, in words."""
        judged = [len(self.judged(fold)) for fold in range(self.num_folds)]
        rows = f"{min(judged):,}" if min(judged) == max(judged) else f"{min(judged):,} to {max(judged):,}"
        given = "" if self.test is None else f"; the given test of {len(self.test):,} rows stays apart"
        return (
            f"{self.num_folds} folds, each model judged on {rows} rows that it does not see; then the delivered model "
            f"on all {len(self.rows):,}: {self.num_folds + 1} trainings{given}"
        )

    @cached_property
    def own_tables(self) -> dict[str, Table]:
        """The tables of the whole run: all rows train, and a given test stays."""
        return {"train": self.rows, **({} if self.test is None else {"test": self.test})}


def first_tables(recipe: Recipe, table: Table) -> Mapping[str, Table]:
    """The parts that a run of a recipe trains on first: those of its split, or of its first fold.

    Args:
        recipe: Of the run.
        table: The whole training table.

    Raises:
        UserError: It can't be divided so.
    """
    if recipe.evaluation.folds:
        return plan_folds(recipe, table).tables(0)
    return split_tables(recipe.data, table, recipe.training.seed)


def plan_folds(recipe: Recipe, table: Table) -> FoldPlan:
    """Divides a table into folds.

    Args:
        recipe: With `evaluation.folds`.
        table: The whole training table.

    Raises:
        ConfigError: A target can't be scored so.
        SplitError: There are more folds than rows, groups, or rows or groups of a class.
    """
    data, num_folds, seed = recipe.data, recipe.evaluation.folds, recipe.training.seed
    for name, target in data.targets.items():
        if not task(target.task).has_column:
            raise ConfigError(
                f"evaluation.folds: target {name!r} ({target.task}) is the input columns themselves, and what is "
                "measured of it differs with each fold's own preprocessing; leave out the folds, and give it a split"
            )
    validation, test = (
        None if path is None else join_like(data, data.read(path), table) for path in (data.validation, data.test)
    )
    parts = _drawn(data, table, seed)
    is_test = (parts == SPLITS.index("test")) & data.split.names_test
    rows = table.select(np.flatnonzero((parts >= 0) & ~is_test))
    given = table.select(np.flatnonzero(is_test)) if test is None and is_test.any() else test
    targets = _fitted_targets(recipe, rows)
    column = data.split.grouping
    groups = None if column is None else groups_of(rows, column)
    labels = class_labels(data, rows)
    fold_of = _folds(rows, targets, column, groups, num_folds, seed)
    chooses = []
    within = data.split.within(parts)
    if validation is not None and isinstance(within, RandomSplitConfig):
        within = replace(within, validation=0.0)
    for fold in range(num_folds):
        others = np.flatnonzero(fold_of != fold)
        own = None if labels is None else [*compress(labels, (fold_of != fold).tolist())]
        mask = np.zeros(len(rows), dtype=bool)
        mask[others] = within.assign(rows.select(others), own, seed) == SPLITS.index("validation")
        chooses.append(mask)
    return FoldPlan(
        rows=rows,
        fold_of=fold_of,
        groups=groups,
        chooses=tuple(chooses),
        validation=validation,
        test=given,
        split=data.split.without_validation(table),
        classes={name: target.target.classes for name, target in targets.items()},
    )


def _drawn(data: DataConfig, table: Table, seed: int) -> np.ndarray:
    """The part of each row as the split has it: int8 [rows], a position in SPLITS, or -1 for none."""
    if not data.split.names_test:
        return np.zeros(len(table), dtype=np.int8)
    return data.split.assign(table, class_labels(data, table), seed)


def _fitted_targets(recipe: Recipe, rows: Table) -> dict[str, TargetProcessor]:
    """The targets as all rows have them, for their classes; nothing else of it is used."""
    data = recipe.data
    if any(target.lies_in_input for target in data.targets.values()):
        return fit_processor(recipe, {"train": rows}, most_for_features=_FOR_FEATURES)[0].targets
    targets, required = {}, recipe.model.target_requirements()
    for name in data.targets:
        targets[name] = data.target_processor(name)
        targets[name].fit(rows, required.get(name), data.modalities)
    return targets


def _folds(
    rows: Table,
    targets: Mapping[str, TargetProcessor],
    column: str | None,
    groups: np.ndarray | None,
    num_folds: int,
    seed: int,
) -> np.ndarray:
    """The fold of each row: int64 [rows]."""
    units = np.arange(len(rows)) if groups is None else groups
    words = "rows" if column is None else f"groups (column {column!r})"
    num_units = len(np.unique(units))
    if num_units < num_folds:
        raise SplitError(
            f"{rows.name}: {num_units:,} {words} can't be divided into {num_folds} folds; take at most "
            f"evaluation.folds={num_units}"
        )
    classes = np.zeros(len(rows), dtype=np.int64)
    for name, target in targets.items():
        if not task(target.config.task).has_classes:
            continue
        classes = _classes(target, rows)
        for number, label in enumerate(Target.of(target.target).classes):
            count = len(np.unique(units[classes == number]))
            if 0 < count < num_folds:
                advice = (
                    f"take at most evaluation.folds={count}, or" if count > 1 else "merge it with another class, or"
                )
                raise SplitError(
                    f"{rows.name}, target {name!r}: the class {label!r} is in {count:,} {words}, too few for "
                    f"{num_folds} folds, some of which would judge none of it; {advice} leave its rows out"
                )
        break
    return stratified_folds(classes, groups, num_folds, generator(seed, "outer folds"))


def _classes(target: TargetProcessor, rows: Table) -> np.ndarray:
    """The class of each row, int64 [rows]; -1 where it has none that can be read."""
    results = np.full(len(rows), -1, dtype=np.int64)
    for i in range(len(rows)):
        try:
            value = target.transform(rows, i)
        except DecodeError:  # listed when the row is read
            continue
        if value is not None:
            results[i] = int(value)
    return results
