"""What every target's preprocessing shares: fitted on the training rows, saved with the model, the same everywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysense.config.base import Family
from polysense.config.codec import from_dict, to_dict
from polysense.core.modality import Task
from polysense.core.schema import Target
from polysense.data.sources import Table
from polysense.errors import BundleError

__all__ = ["TargetConfig", "TargetProcessor"]


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

    def save(self, folder: Path | None = None) -> dict[str, Any]:
        """Everything needed to rebuild it, as plain values for JSON.

        Args:
            folder: For what is no such value; a kind of target that has files needs one.
        """
        if folder is not None:
            self._write(folder)
        return {"config": to_dict(self.config), "target": to_dict(self.target), **self._state()}

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
            fields: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in state["target"].items()
            }
            fields["task"] = Task(fields["task"])
            target = Target(**fields)
            processor = from_dict(TargetConfig, state["config"], where="the saved target").build(target.name)  # type: ignore[type-abstract]
            processor._target = target
            processor._restore(state)
            if folder is not None:
                processor._read(state, folder)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the saved preprocessing of a target can't be read: {error}") from error
        return processor

    @abstractmethod
    def _fit(self, table: Table, cells: list[list[object]]) -> Target:
        """Learns from the training cells of each column."""

    @abstractmethod
    def _value(self, cells: list[object]) -> np.ndarray | None:
        """The value of a row in which not all cells are missing, None if they hold nothing; raises DecodeError."""

    def _state(self) -> dict[str, Any]:
        """What has been learned beyond the Target."""
        return {}

    def _restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 (not every kind has something to take back)
        """Takes back what `_state` gave."""

    def _write(self, folder: Path) -> None:  # noqa: B027
        """Writes the files that it needs, into a folder of its own."""

    def _read(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: B027
        """Reads what `_write` wrote."""
