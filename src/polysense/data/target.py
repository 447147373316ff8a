"""What every target's preprocessing shares: fitted on the training rows, saved with the model, the same everywhere."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polysense.config.base import Family
from polysense.config.codec import from_dict, to_dict
from polysense.core.record import read_record
from polysense.core.registry import task
from polysense.core.schema import Requirements, Target
from polysense.core.task_spec import TargetReader
from polysense.data.cleaning import CellCleaner
from polysense.data.column import ColumnProcessor
from polysense.data.prompt import Prompt
from polysense.data.tables.sources import Table
from polysense.errors import BundleError, ConfigError

__all__ = ["ColumnTargetConfig", "TargetConfig", "TargetProcessor"]


@dataclass(frozen=True, kw_only=True)
class TargetConfig(Family, ABC, family="target", homes=("tasks.*.*target",)):
    """One thing to predict."""

    task: ClassVar[str]
    """The task that it is fitted as."""

    reads_inputs: ClassVar[bool] = False
    """Whether it is read from input columns, and so is no answer that an input could give away."""

    may_be_input: ClassVar[bool] = False
    """Whether what it is read from may be an input too, since its head can be kept from reading it (`without`)."""

    lies_in_input: ClassVar[bool] = False
    """Whether it says where in an input column something is, and so is fitted after the columns."""

    reads_items: ClassVar[bool] = True
    """Whether a target that lies in an input column looks at its items, and not at the table's cells alone: then they
    are decoded in every epoch, though a frozen backbone's features of them may be stored."""

    def resolved(self, inputs: Mapping[str, str]) -> TargetConfig:
        """The config with what it leaves open to the input columns settled.

        Args:
            inputs: Per input column the table's column that it is read from.
        """
        del inputs
        return self

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns that the target of that name is read from."""
        return (name,)

    def with_classes(self, classes: tuple[str, ...]) -> TargetConfig:
        """The config with the classes that a target was fitted with, where they were left to the training rows.

        So several models that are fitted on different rows of a table have the same classes, in one order.
        """
        if classes:
            raise ConfigError(
                f"evaluation.folds: a target of type {self.type!r} does not say how its classes are fixed over folds "
                "(`TargetConfig.with_classes`); score it on a split"
            )
        return self

    @abstractmethod
    def build(self, name: str) -> TargetProcessor:
        """The preprocessing of the target of that name, not yet fitted."""


@dataclass(frozen=True, kw_only=True)
class ColumnTargetConfig(TargetConfig):
    """A target that is one column of the table.

    Attributes:
        column: The table's column; null if it is named as the target.
    """

    column: str | None = None

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's column that the target of that name is read from."""
        return (self.column or name,)


class TargetProcessor(ABC):
    """Reads one target.

    Attributes:
        name: The target's name.
        config: How it was asked for.
        warnings: What of the training cells may be read otherwise than it was meant, or loses its meaning. Not saved.
        cleaner: What its cells are changed by before they are read.
    """

    def __init__(self, name: str, config: TargetConfig) -> None:
        self.name = name
        self.config = config
        self.warnings: tuple[str, ...] = ()
        self.cleaner = CellCleaner()
        self._target: Target | None = None
        self._required = Requirements()
        self._inputs: dict[str, str] = {}

    @property
    def target(self) -> Target:
        """What the head needs to know; complete once fitted."""
        assert self._target is not None, f"target {self.name!r} is not fitted"
        return self._target

    @property
    def columns(self) -> tuple[str, ...]:
        """The table's columns that it is read from."""
        return self.config.sources(self.name)

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        """The table's columns that its prompts are made of."""
        return ()

    def fit(
        self, table: Table, requirements: Requirements | None = None, inputs: Mapping[str, str] | None = None
    ) -> Target:
        """Learns from the training rows.

        Args:
            table: The training rows.
            requirements: What a pretrained head asks of it.
            inputs: Per input column what it is, by its config's type.

        Raises:
            TableError: The table lacks the target's column.
            ColumnError: The column is empty or constant, or can't serve as this kind of target.
        """
        self._required, self._inputs = requirements or Requirements(), dict(inputs or {})
        for column in self.columns:
            table.require(column, "target column")
        cells = [self.cleaner.fitted(table.cells(column, literal=True)) for column in self.columns]
        self._target = self._fit(table, cells)
        return self._target

    def attach(self, columns: Mapping[str, ColumnProcessor]) -> None:  # noqa: B027 (most need no column)
        """Hands over the input columns, for a target that says where in one of them something is.

        Args:
            columns: By name; fitted, unless this is called before anything is.

        Raises:
            ColumnError: No column, or more than one, can be what the target is over.
        """

    def prepare(self, table: Table) -> None:  # noqa: B027
        """Told of a table before any of its rows is read, for a target that reads what came before a row."""

    def counted(self) -> Mapping[str, np.ndarray]:
        """What is counted of the training rows and its head takes over, by name; of most nothing."""
        return {}

    @property
    def over(self) -> str | None:
        """The input column that the target lies in; it is fitted before the target. None: in none."""
        return None

    def held_out_warnings(self, train: Table, held_out: Table) -> tuple[str, ...]:
        """What of the values of rows that are not trained on looks wrong beside the training rows'."""
        del train, held_out
        return ()

    def transform(self, table: Table, i: int, items: Sequence[np.ndarray] = ()) -> np.ndarray | None:
        """The target of the row at position i; None if it is missing or the table lacks the column.

        Args:
            table: Any table.
            i: Position in it.
            items: The row's items of the column that the target is over.

        Raises:
            DecodeError: There is something, but it can't be read as this target; the message says why, not where.
        """
        cells = [
            self.cleaner.cell(table.cell(i, name, literal=True)) if table.has(name) else None for name in self.columns
        ]
        return None if all(cell is None for cell in cells) else self._located(cells, table, i, items)

    has_length: ClassVar[bool] = False
    """Whether a value is a sequence, whose length is a cost of its row."""

    def sequences(self, value: np.ndarray) -> Sequence[np.ndarray]:
        """The references that a value of `transform` holds, where it has a length."""
        return [value]

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the classes that a value may have; none of a target without classes."""
        return ()

    def classes_of(self, value: np.ndarray) -> Sequence[int]:
        """The classes that a value of `transform` has, as positions in `class_names`."""
        raise AssertionError(f"target {self.name!r} has no classes")

    def require_classes(self) -> None:
        """Raises ConfigError where a value has no classes by which rows could be drawn."""
        if not self.class_names:
            raise ConfigError(
                f"training.sampler: target {self.name!r} is of type {self.config.type!r}, whose rows have no classes "
                "to draw them by; name another target (training.sampler.target), or take training.sampler=shuffle"
            )

    def stream(self, ids: Iterable[Sequence[int]]) -> Iterator[str]:
        """A prediction while it is generated, piece by piece.

        Args:
            ids: Longer and longer beginnings of its token ids.
        """
        raise AssertionError(f"target {self.name!r} is not generated token by token")

    def prompt(self, table: Table, i: int) -> Prompt | None:
        """The prefix that the row's text is conditioned on, at prediction too; None for other kinds of targets.

        Raises:
            DecodeError: A cell that it is made of can't be read.
        """
        return None

    def reader(self, table: Table) -> TargetReader | None:
        """How the target is spelled and what the table's rows hold; None where metrics need not know."""
        del table
        return None

    @abstractmethod
    def render(self, value: Any) -> Any:
        """A predicted value as the training table would hold it.

        Args:
            value: One row of what its head predicts, as a number, an array or a list.
        """

    def taken_over(self, name: str, config: TargetConfig) -> TargetProcessor:
        """The same fitted preprocessing for a target of another model, whose head came along with it.

        Args:
            name: The target there.
            config: How it is asked for there; it differs in which of the table's columns it is read from alone.
        """
        other = copy.copy(self)
        other.name, other.config = name, config
        other._target = dataclasses.replace(self.target, name=name, columns=config.sources(name))
        return other

    def save(self, folder: Path | None = None) -> dict[str, Any]:
        """Everything needed to rebuild it, as plain values for JSON.

        Args:
            folder: For what is no such value; a kind of target that has files needs one.
        """
        if folder is not None:
            self._write(folder)
        return {
            "config": to_dict(self.config),
            "target": to_dict(self.target),
            "cleaning": self.cleaner.plain(),
            **self._state(),
        }

    @staticmethod
    def load(state: Mapping[str, Any], folder: Path | None = None) -> TargetProcessor:
        """Rebuilds what `save` wrote.

        Args:
            state: What `save` returned.
            folder: What it was given.

        Raises:
            BundleError: The state is broken.
        """
        try:
            target = read_record(task(state["target"]["task"]).record, state["target"])
            processor = from_dict(TargetConfig, state["config"], where="the saved target").build(target.name)  # type: ignore[type-abstract]
            processor._target = target
            processor.cleaner = CellCleaner.restored(state["cleaning"])
            processor._restore(state)
            if folder is not None:
                processor._read(state, folder)
        except Exception as error:
            raise BundleError(
                f"the saved preprocessing of a target can't be read: {type(error).__name__}: {error}"
            ) from error
        return processor

    @abstractmethod
    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        """Learns from the training cells of each column."""

    @abstractmethod
    def _value(self, cells: list[object]) -> np.ndarray | None:
        """The value of a row in which not all cells are missing, None if they hold nothing; raises DecodeError."""

    def _located(self, cells: list[object], table: Table, i: int, items: Sequence[np.ndarray]) -> np.ndarray | None:
        """The value of a row; a target that lies in an input column looks there."""
        return self._value(cells)

    def _state(self) -> dict[str, Any]:
        """What has been learned beyond the Target."""
        return {}

    def _restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 (not every kind has something to take back)
        """Takes back what `_state` gave."""

    def _write(self, folder: Path) -> None:  # noqa: B027
        """Writes the files that it needs, into a folder of its own."""

    def _read(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: B027
        """Reads what `_write` wrote."""
