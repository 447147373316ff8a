"""Targets: from a row's cells to class ids, sets of labels or numbers, and back to what the table would hold.

A class is known by one spelling (see `category_key`), so a model trained on the integers 0 and 1 reads "0" and 1.0 in
another table too. What it predicts is rendered as the training table had it: integers stay integers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from polysense.config.base import Family
from polysense.config.codec import from_dict, to_dict
from polysense.core.modality import Task
from polysense.core.schema import Target
from polysense.data.columns.category import category_key
from polysense.data.columns.number import decimal_mark, parse_number
from polysense.data.decode.media import short
from polysense.data.sources import Table
from polysense.errors import BundleError, ColumnError, DecodeError

__all__ = [
    "ClassificationTargetConfig",
    "MultilabelTargetConfig",
    "RegressionTargetConfig",
    "TargetConfig",
    "TargetProcessor",
]

_DELIMITERS = ("|", ";", ",")
_SHOWN = 10  # classes that a message lists
_LARGEST = 1e30  # the head computes in float32, which ends at 3e38


@dataclass(frozen=True, kw_only=True)
class TargetConfig(Family, ABC, family="target"):
    """One thing to predict."""

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns that the target of that name is read from."""
        return (name,)

    @abstractmethod
    def build(self, name: str) -> TargetProcessor:
        """The preprocessing of the target of that name, not yet fitted."""


class TargetProcessor(ABC):
    """Reads one target.

    Attributes:
        name: The target's name.
        config: How it was asked for.
    """

    def __init__(self, name: str, config: TargetConfig) -> None:
        self.name = name
        self.config = config
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        """What the head needs to know; complete once fitted."""
        assert self._target is not None, f"target {self.name!r} is not fitted"
        return self._target

    @property
    def columns(self) -> tuple[str, ...]:
        """The table's columns that it is read from."""
        return self.config.sources(self.name)

    def fit(self, table: Table) -> Target:
        """Learns from the training rows.

        Raises:
            TableError: The table lacks the target's column.
            ColumnError: The column is empty or constant, or can't serve as this kind of target.
        """
        for column in self.columns:
            table.require(column, "target column")
        self._target = self._fit(table, [table.cells(column, literal=True) for column in self.columns])
        return self._target

    def transform(self, table: Table, i: int) -> np.ndarray | None:
        """The target of the row at position i; None if it is missing or the table lacks the column.

        Raises:
            DecodeError: There is something, but it can't be read as this target; the message says why, not where.
        """
        cells = [table.cell(i, name, literal=True) if table.has(name) else None for name in self.columns]
        return None if all(cell is None for cell in cells) else self._value(cells)

    @abstractmethod
    def render(self, value: Any) -> Any:
        """A predicted value as the training table would hold it.

        Args:
            value: One row of core.prediction.Prediction.values, as a number, an array or a list.
        """

    def save(self) -> dict[str, Any]:
        """Everything needed to rebuild it, as plain values for JSON."""
        return {"config": to_dict(self.config), "target": to_dict(self.target), **self._state()}

    @staticmethod
    def load(state: Mapping[str, Any]) -> TargetProcessor:
        """Rebuilds what `save` wrote.

        Raises:
            BundleError: The state is broken.
        """
        try:
            fields: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in state["target"].items()
            }
            fields["task"] = Task(fields["task"])
            target = Target(**fields)
            processor = from_dict(TargetConfig, state["config"], where="the saved target").build(target.name)  # type: ignore[type-abstract]
            processor._target = target
            processor._restore(state)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the saved preprocessing of a target can't be read: {error}") from error
        return processor

    @abstractmethod
    def _fit(self, table: Table, cells: list[list[object]]) -> Target:
        """Learns from the training cells of each column."""

    @abstractmethod
    def _value(self, cells: list[object]) -> np.ndarray:
        """The value of a row in which not all cells are missing; raises DecodeError."""

    def _state(self) -> dict[str, Any]:
        """What has been learned beyond the Target."""
        return {}

    def _restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 (not every kind has something to take back)
        """Takes back what `_state` gave."""


class _Classes:
    """Class names, the look-up of cells among them, and how they are rendered."""

    def __init__(self, names: Sequence[str], kind: str) -> None:
        self.names = tuple(names)
        self.kind = kind
        self._ids = {category_key(name): position for position, name in enumerate(self.names)}

    @staticmethod
    def learn(
        where: str, name: str, found: Sequence[object], fixed: Sequence[object] | None, first: str | None
    ) -> tuple[_Classes, tuple[int, ...]]:
        """The classes and how often each stands among the found labels.

        Raises:
            ColumnError: There are fewer than two classes, or the fixed ones name one twice.
        """
        counts: Counter[str] = Counter()
        spellings: dict[str, Counter[str]] = {}
        for value in found:
            key = category_key(value)
            if key is not None:
                counts[key] += 1
                spellings.setdefault(key, Counter())[_spelled(value, key)] += 1
        if fixed is None:
            keys = sorted(counts, key=_order(counts))
        else:
            keys = [key for key in map(category_key, fixed) if key is not None]
            if len(set(keys)) < len(keys):
                raise ColumnError(f"{where}: classes names {max(keys, key=keys.count)!r} twice; name each class once")
            for key, value in zip(keys, fixed, strict=True):
                spellings.setdefault(key, Counter([_spelled(value, key)]))
        if not counts:
            raise ColumnError(
                f"{where}: no training row has a label that can be read; first {first or 'give some labels'}"
            )
        if fixed is not None and not any(counts[key] for key in keys):
            raise ColumnError(
                f"{where}: no training row has one of the classes {_listed(keys)}; found {_listed(list(counts))}"
            )
        kinds = {type(value) for value in found if value is not None}
        whole = all(not isinstance(value, float) or value.is_integer() for value in found)
        kind = "bool" if kinds == {bool} else "int" if kinds and kinds <= {int, float} and whole else "str"
        # The most frequent spelling; of equally frequent ones the first by name.
        names = [min(spellings[key], key=lambda text, key=key: (-spellings[key][text], text)) for key in keys]  # type: ignore[misc]
        return _Classes(names, kind), tuple(counts[key] for key in keys)

    def find(self, value: object) -> int:
        """A label's id.

        Raises:
            DecodeError: No such class.
        """
        position = self._ids.get(category_key(value))
        if position is None:
            raise DecodeError(
                f"found the label {short(value)}, which training did not know (known: {_listed(self.names)})"
            )
        return position

    def render(self, position: int) -> Any:
        """A class as the training table had it: an int, a bool or a str."""
        name = self.names[position]
        if self.kind == "bool":
            return category_key(name) == "true"
        return int(name) if self.kind == "int" else name


def _spelled(value: object, key: str) -> str:
    return value.strip() if isinstance(value, str) and key in ("true", "false") else key


def _order(keys: Mapping[str, int]) -> Any:
    """Numbers by value if all are numbers, else names alphabetically."""
    try:
        values = {key: float(key) for key in keys}
    except ValueError:
        return str
    return lambda key: (values[key], key) if math.isfinite(values[key]) else (math.inf, key)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


@dataclass(frozen=True, kw_only=True)
class ClassificationTargetConfig(TargetConfig):
    """One class out of several.

    Attributes:
        column: The table's column; null if it is named as the target.
        classes: All classes, in the order of their ids; of two the second is the positive one. Null takes those of the
            training rows, sorted (numbers by value).
    """

    type: Literal["classification"] = "classification"
    column: str | None = None
    classes: tuple[str | int | float | bool, ...] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and len(self.classes) < 2:
            raise ValueError("classes: expected at least two, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's column that the target of that name is read from."""
        return (self.column or name,)

    def build(self, name: str) -> ClassificationTarget:
        """The preprocessing of the target of that name, not yet fitted."""
        return ClassificationTarget(name, self)


class ClassificationTarget(TargetProcessor):
    """Reads a class; the value is an int64 scalar."""

    config: ClassificationTargetConfig
    _classes: _Classes

    def _fit(self, table: Table, cells: list[list[object]]) -> Target:
        where = f"{table.name}, target column {self.columns[0]!r}"
        labels, first = [], None
        for i, cell in enumerate(cells[0]):
            try:
                category_key(cell)
                labels.append(cell)
            except DecodeError as error:
                first = first or f"{table.source(i, self.columns[0])}: {error}"
        self._classes, counts = _Classes.learn(where, self.name, labels, self.config.classes, first)
        seen = [name for name, count in zip(self._classes.names, counts, strict=True) if count]
        if len(seen) < 2:
            raise ColumnError(
                f"{where}: all {sum(counts)} labelled training rows are of one class, {seen[0]!r}; expected two or "
                "more, or there is nothing to learn"
            )
        return Target(
            name=self.name,
            task=Task.CLASSIFICATION,
            columns=self.columns,
            classes=self._classes.names,
            class_counts=counts,
            num_rows=sum(counts),
        )

    def _value(self, cells: list[object]) -> np.ndarray:
        return np.array(self._classes.find(cells[0]), dtype=np.int64)

    def render(self, value: Any) -> Any:
        """A class id as the class that the training table had: an int, a bool or a str."""
        return self._classes.render(int(value))

    def _state(self) -> dict[str, Any]:
        return {"kind": self._classes.kind}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._classes = _Classes(self.target.classes, state["kind"])


@dataclass(frozen=True, kw_only=True)
class MultilabelTargetConfig(TargetConfig):
    """Any number of labels at once.

    Attributes:
        column: The table's column; null if it is named as the target.
        classes: All labels, in the order of their ids; null takes those of the training rows, sorted.
        delimiter: What stands between the labels of a text cell. Null takes the first of | ; , that occurs in the
            training rows. Cells that are lists need none.
    """

    type: Literal["multilabel"] = "multilabel"
    column: str | None = None
    classes: tuple[str | int | float | bool, ...] | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter == "":
            raise ValueError("delimiter: expected at least one character, or null")
        if self.classes is not None and not self.classes:
            raise ValueError("classes: expected at least one, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's column that the target of that name is read from."""
        return (self.column or name,)

    def build(self, name: str) -> MultilabelTarget:
        """The preprocessing of the target of that name, not yet fitted."""
        return MultilabelTarget(name, self)


class MultilabelTarget(TargetProcessor):
    """Reads a set of labels; the value is float32 [classes] of 0 and 1. An empty list is a value: no label holds."""

    config: MultilabelTargetConfig
    _classes: _Classes
    _delimiter: str | None

    def _fit(self, table: Table, cells: list[list[object]]) -> Target:
        where = f"{table.name}, target column {self.columns[0]!r}"
        texts = [cell for cell in cells[0] if isinstance(cell, str)]
        self._delimiter = self.config.delimiter or next(
            (sign for sign in _DELIMITERS if any(sign in text for text in texts)), None
        )
        labels: list[object] = []
        first = None
        num_rows = 0
        for i, cell in enumerate(cells[0]):
            try:
                # A label counts once a row, however often it stands there.
                labels.extend({category_key(label): label for label in self._labels(cell)}.values())
                num_rows += cell is not None
            except DecodeError as error:
                first = first or f"{table.source(i, self.columns[0])}: {error}"
        self._classes, counts = _Classes.learn(where, self.name, labels, self.config.classes, first)
        return Target(
            name=self.name,
            task=Task.MULTILABEL,
            columns=self.columns,
            classes=self._classes.names,
            class_counts=counts,
            num_rows=num_rows,
        )

    def _labels(self, cell: object) -> list[object]:
        if cell is None:
            return []
        if isinstance(cell, list):
            return [label for label in cell if label is not None]
        if isinstance(cell, str):
            parts = cell.split(self._delimiter) if self._delimiter else [cell]
            return [part.strip() for part in parts if part.strip()]
        return [cell]

    def _value(self, cells: list[object]) -> np.ndarray:
        value = np.zeros(len(self._classes.names), dtype=np.float32)
        for label in self._labels(cells[0]):
            value[self._classes.find(label)] = 1.0
        return value

    def render(self, value: Any) -> list[Any]:
        """Flags [classes] as the list of the labels that hold."""
        return [self._classes.render(int(position)) for position in np.flatnonzero(np.asarray(value))]

    def _state(self) -> dict[str, Any]:
        return {"kind": self._classes.kind, "delimiter": self._delimiter}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._classes = _Classes(self.target.classes, state["kind"])
        self._delimiter = state["delimiter"]


@dataclass(frozen=True, kw_only=True)
class RegressionTargetConfig(TargetConfig):
    """One number or several.

    Attributes:
        columns: The table's columns, one output each; null if there is one, named as the target.
    """

    type: Literal["regression"] = "regression"
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.columns is not None and (not self.columns or len(set(self.columns)) < len(self.columns)):
            raise ValueError("columns: expected at least one column, each once, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns that the target of that name is read from."""
        return self.columns or (name,)

    def build(self, name: str) -> RegressionTarget:
        """The preprocessing of the target of that name, not yet fitted."""
        return RegressionTarget(name, self)


class RegressionTarget(TargetProcessor):
    """Reads numbers; the value is float32 [columns] in the table's units, NaN where a cell is missing."""

    config: RegressionTargetConfig
    _marks: tuple[Any, ...]  # each column's decimal mark

    def _fit(self, table: Table, cells: list[list[object]]) -> Target:
        self._marks = tuple(decimal_mark(values) for values in cells)
        means, spreads = [], []
        known = np.zeros(len(table), dtype=bool)
        for column, mark, values in zip(self.columns, self._marks, cells, strict=True):
            where = f"{table.name}, target column {column!r}"
            numbers, failed = [], []
            for i, cell in enumerate(values):
                try:
                    number = _number(cell, mark)
                    if number is not None:
                        numbers.append(number)
                        known[i] = True
                except DecodeError as error:
                    failed.append(f"{table.source(i, column)}: {error}")
            if not numbers:
                raise ColumnError(
                    f"{where}: no training row has a number; first {failed[0] if failed else 'give some'}"
                )
            found = np.array(numbers)
            mean, spread = float(found.mean()), float(found.std())
            if not 0 < spread < _LARGEST:
                reason = f"all {len(numbers)} training values are {numbers[0]:g}, there is nothing to learn"
                if spread != 0:
                    reason = f"its values reach {np.abs(found).max():g}, too large to scale; divide them beforehand"
                raise ColumnError(f"{where}: {reason}")
            means.append(mean)
            spreads.append(spread)
        return Target(
            name=self.name,
            task=Task.REGRESSION,
            columns=self.columns,
            num_rows=int(known.sum()),
            mean=tuple(means),
            std=tuple(spreads),
        )

    def _value(self, cells: list[object]) -> np.ndarray:
        numbers = []
        for column, mark, cell in zip(self.columns, self._marks, cells, strict=True):
            try:
                numbers.append(_number(cell, mark))
            except DecodeError as error:
                raise DecodeError(f"{column!r}: {error}" if len(self.columns) > 1 else str(error)) from None
        return np.array([math.nan if number is None else number for number in numbers], dtype=np.float32)

    def render(self, value: Any) -> Any:
        """A float, or with several columns a dict from column to float."""
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64)).tolist()
        return numbers[0] if len(self.columns) == 1 else dict(zip(self.columns, numbers, strict=True))

    def _state(self) -> dict[str, Any]:
        return {"marks": list(self._marks)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._marks = tuple(state["marks"])


def _number(cell: object, mark: Any) -> float | None:
    number = parse_number(cell, mark)
    if number is not None and abs(number) > _LARGEST:
        raise DecodeError(f"found {short(cell)}, expected a number of at most {_LARGEST:g}")
    return number
