"""A cell as one class of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.schema import Target
from polysense.data.tables.sources import Table
from polysense.data.target import ColumnTargetConfig, TargetProcessor
from polysense.data.values.category_key import case_note, category_key, unified_note
from polysense.data.values.classes import Classes
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["ClassificationProcessor", "ClassificationTargetConfig"]


@dataclass(frozen=True, kw_only=True)
class ClassificationTargetConfig(ColumnTargetConfig):
    """One class out of several.

    Attributes:
        classes: All classes, in the order of their ids; of two the second is the positive one. Null takes those of the
            training rows, sorted (numbers by value).
    """

    task: ClassVar[str] = "classification"
    type: Literal["classification"] = "classification"
    classes: tuple[str | int | float | bool, ...] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and len(self.classes) < 2:
            raise ValueError("classes: expected at least two, or null")

    def with_classes(self, classes: tuple[str, ...]) -> ClassificationTargetConfig:
        return self if self.classes is not None else replace(self, classes=classes)

    def build(self, name: str) -> ClassificationProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return ClassificationProcessor(name, self)


class ClassificationProcessor(TargetProcessor):
    """Reads a class; the value is an int64 scalar."""

    config: ClassificationTargetConfig
    _classes: Classes

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        where = f"{table.name}, target column {self.columns[0]!r}"
        labels, first, texts = [], None, dict[str, str]()
        for i, cell in enumerate(cells[0]):
            try:
                category_key(cell)
                # Of a million cells one text for each class.
                labels.append(texts.setdefault(cell, cell) if isinstance(cell, str) else cell)
            except DecodeError as error:
                first = first or f"{table.source(i, self.columns[0])}: {error}"
        self._classes, counts = Classes.learn(where, self.name, labels, self.config.classes, first)
        notes = (unified_note(labels), case_note(self._classes.names))
        self.warnings = tuple(note for note in notes if note is not None)
        seen = [name for name, count in zip(self._classes.names, counts, strict=True) if count]
        if len(seen) < 2:
            raise ColumnError(
                f"{where}: all {sum(counts)} labeled training rows are of one class, {seen[0]!r}; expected two or "
                "more, or there is nothing to learn"
            )
        return ClassificationTarget(
            name=self.name,
            columns=self.columns,
            classes=self._classes.names,
            class_counts=counts,
            num_rows=sum(counts),
        )

    def _value(self, cells: list[object]) -> np.ndarray:
        return np.array(self._classes.find(cells[0]), dtype=np.int64)

    @property
    def class_names(self) -> Sequence[str]:
        return self._classes.names

    def classes_of(self, value: np.ndarray) -> Sequence[int]:
        return (int(value),)

    def render(self, value: Any) -> Any:
        """A class id as the class that the training table had: an int, a bool or a str."""
        return self._classes.render(int(value))

    def _state(self) -> dict[str, Any]:
        return {"kind": self._classes.kind}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._classes = Classes(self.target.classes, state["kind"])
