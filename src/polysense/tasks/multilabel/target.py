"""A cell as a set of labels: a list, or a text with delimiters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from polysense.core.schema import Target
from polysense.data.tables.sources import Table
from polysense.data.target import ColumnTargetConfig, TargetProcessor
from polysense.data.values.category_key import case_note, category_key, unified_note
from polysense.data.values.classes import Classes
from polysense.errors import DecodeError
from polysense.tasks.multilabel.record import MultilabelTarget

__all__ = ["MultilabelProcessor", "MultilabelTargetConfig"]

_DELIMITERS = ("|", ";", ",")


@dataclass(frozen=True, kw_only=True)
class MultilabelTargetConfig(ColumnTargetConfig):
    """Any number of labels at once.

    Attributes:
        classes: All labels, in the order of their ids; null takes those of the training rows, sorted.
        delimiter: The separator of the labels in a text cell. Null takes the first of | ; , that occurs in the training
            rows. Cells that are lists need none.
    """

    task: ClassVar[str] = "multilabel"
    type: Literal["multilabel"] = "multilabel"
    classes: tuple[str | int | float | bool, ...] | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter == "":
            raise ValueError("delimiter: expected at least one character, or null")
        if self.classes is not None and not self.classes:
            raise ValueError("classes: expected at least one, or null")

    def with_classes(self, classes: tuple[str, ...]) -> MultilabelTargetConfig:
        return self if self.classes is not None else replace(self, classes=classes)

    def build(self, name: str) -> MultilabelProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return MultilabelProcessor(name, self)


class MultilabelProcessor(TargetProcessor):
    """Reads a set of labels; the value is float32 [classes] of 0 and 1. An empty list is a value: no label holds."""

    config: MultilabelTargetConfig
    _classes: Classes
    _delimiter: str | None

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
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
        self._classes, counts = Classes.learn(where, self.name, labels, self.config.classes, first)
        notes = (unified_note(labels), case_note(self._classes.names))
        self.warnings = tuple(note for note in notes if note is not None)
        return MultilabelTarget(
            name=self.name,
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

    @property
    def class_names(self) -> Sequence[str]:
        return self._classes.names

    def classes_of(self, value: np.ndarray) -> Sequence[int]:
        labels: list[int] = np.flatnonzero(value).tolist()
        return labels

    def column(self, values: np.ndarray) -> pl.Series:
        """Flags [rows, classes] as a column of lists of labels."""
        return self._classes.as_lists([self.render(value) for value in values])

    def render(self, value: Any) -> list[Any]:
        """Flags [classes] as the list of the labels that hold."""
        return [self._classes.render(int(position)) for position in np.flatnonzero(np.asarray(value))]

    def _state(self) -> dict[str, Any]:
        return {"kind": self._classes.kind, "delimiter": self._delimiter}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._classes = Classes(self.target.classes, state["kind"])
        self._delimiter = state["delimiter"]
