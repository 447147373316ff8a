"""Input columns that are to be reconstructed: the truth is the row itself, so there is no label column.

The value of a row says which of its cells are there, and nothing of what they hold: the model has them as its inputs,
decoded and augmented, and hands these to the head. So images and audio clips are not carried about twice.

A column whose categories are hashed is read and not reconstructed: a bucket can't be turned back into what it holds, so
there would be nothing to write, and its error would be about buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.registry import modality
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.column import ColumnProcessor
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig, TargetProcessor
from polysense.data.values.cells import clean
from polysense.errors import ColumnError, ConfigError
from polysense.tasks.reconstruction.record import ReconstructionTarget

__all__ = ["ReconstructionProcessor", "ReconstructionTargetConfig"]

_log = get_logger("polysense.data.targets")


@dataclass(frozen=True, kw_only=True)
class ReconstructionTargetConfig(TargetConfig):
    """The input columns themselves, reconstructed from their own encoding. There is no label column.

    Attributes:
        columns: The input columns to reconstruct; null takes all of data.columns. The others are only inputs, and so
            are hashed categories, since a bucket does not identify a category.
        cells: The table's columns that the columns are read from, in the same order; null takes what data.columns says.
    """

    reads_inputs: ClassVar[bool] = True
    task: ClassVar[str] = "reconstruction"
    type: Literal["reconstruction"] = "reconstruction"
    columns: tuple[str, ...] | None = None
    cells: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.columns is not None and len(set(self.columns)) < max(1, len(self.columns)):
            raise ValueError(f"columns: expected one or more different ones, found {list(self.columns)}")

    def resolved(self, inputs: Mapping[str, str]) -> ReconstructionTargetConfig:
        """The config with its columns named.

        Raises:
            ConfigError: A column is no input, or there is none.
        """
        columns = tuple(inputs) if self.columns is None else self.columns
        if unknown := [name for name in columns if name not in inputs]:
            raise ConfigError(f"columns: {unknown[0]!r} is no input column (data.columns: {', '.join(inputs)})")
        if not columns:
            return self  # Without any input column the table is told of as such.
        cells = tuple(inputs[name] for name in columns)
        return replace(self, columns=columns, cells=None if cells == columns else cells)

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns that are reconstructed."""
        return self.cells or self.columns or ()

    def build(self, name: str) -> ReconstructionProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return ReconstructionProcessor(name, self)


class ReconstructionProcessor(TargetProcessor):
    """Reads which cells are there; the value is float32 [columns], 1 where there is one, else 0."""

    config: ReconstructionTargetConfig

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        assert self.config.columns is not None
        there = np.array([[clean(cell) is not None for cell in column] for column in cells], dtype=bool).T
        there = there.reshape(len(table), len(cells))
        where = f"{table.name}, target {self.name!r}"
        if not there.any():
            raise ColumnError(f"{where}: the columns {', '.join(self.config.columns)} are empty in all training rows")
        num_rows = int(there.any(axis=1).sum())
        _log.info("%s: %d of %d rows have one or more of the columns", where, num_rows, len(table))
        return ReconstructionTarget(
            name=self.name,
            columns=self.columns,
            num_rows=num_rows,
            members=self.config.columns,
        )

    def _value(self, cells: list[object]) -> np.ndarray:
        return np.array([clean(cell) is not None for cell in cells], dtype=np.float32)

    def attach(self, columns: Mapping[str, ColumnProcessor]) -> None:
        if self._target is None:
            return
        target = ReconstructionTarget.of(self._target)
        members = target.members
        known = {name: columns[name].column for name in members if name in columns and columns[name].is_fitted}
        answers = {name: modality(column.modality).decoder(column) for name, column in known.items()}
        refused = {name: answer for name, answer in answers.items() if isinstance(answer, Unsupported)}
        if not refused:
            return
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        retained = tuple(name for name in members if name not in refused)
        if not retained:
            raise ColumnError(
                f"target {self.name!r}: none of its columns can be reconstructed ({reasons}); name other columns too, "
                f"or read these in another way"
            )
        _log.warning("target %r: read and not reconstructed: %s", self.name, reasons)
        sources = self.config.sources(self.name)
        cells = tuple(cell for name, cell in zip(members, sources, strict=True) if name in retained)
        self.config = replace(self.config, columns=retained, cells=None if cells == retained else cells)
        self._target = replace(target, columns=cells, members=retained)

    def render(self, value: Any) -> list[float]:
        """A code as plain numbers."""
        return [float(number) for number in np.asarray(value).tolist()]
