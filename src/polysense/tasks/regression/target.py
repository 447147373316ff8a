"""One cell or several as numbers, in the table's own units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.schema import Target
from polysense.data.media.media import short
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig, TargetProcessor
from polysense.data.values.notation import Notation, NotationEvidence
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.regression.record import RegressionTarget

__all__ = ["RegressionProcessor", "RegressionTargetConfig"]

_log = get_logger("polysense.data.targets")

_LARGEST = 1e30  # the head computes in float32, which ends at 3e38


@dataclass(frozen=True, kw_only=True)
class RegressionTargetConfig(TargetConfig):
    """One number or several.

    Attributes:
        columns: The table's columns, one output each; null if there is one, named as the target.
        decimal: The decimal mark, a point or a comma; auto takes the one that a column's training cells tell.
    """

    task: ClassVar[str] = "regression"
    type: Literal["regression"] = "regression"
    columns: tuple[str, ...] | None = None
    decimal: Literal["auto", ".", ","] = "auto"

    def __post_init__(self) -> None:
        if self.columns is not None and (not self.columns or len(set(self.columns)) < len(self.columns)):
            raise ValueError("columns: expected at least one column, each once, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns that the target of that name is read from."""
        return self.columns or (name,)

    def build(self, name: str) -> RegressionProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return RegressionProcessor(name, self)


class RegressionProcessor(TargetProcessor):
    """Reads numbers; the value is float32 [columns] in the table's units, NaN where a cell is missing."""

    config: RegressionTargetConfig
    _notations: tuple[Notation, ...]  # of each column

    def _fit(self, table: Table, cells: list[list[object]]) -> Target:
        read = [NotationEvidence.of(values, self.config.decimal) for values in cells]
        self._notations = tuple(evidence.notation for evidence in read)
        remedy = f"set data.targets.{self.name}.decimal to '.' or ','"
        self.warnings = tuple(
            f"{column!r}: {warning}" if len(self.columns) > 1 else warning
            for column, evidence in zip(self.columns, read, strict=True)
            for warning in evidence.warnings(remedy)
        )
        for column, evidence in zip(self.columns, read, strict=True):
            if evidence.describe():
                _log.info("target column %r: numbers, %s", column, evidence.describe())
        means, spreads = [], []
        known = np.zeros(len(table), dtype=bool)
        for column, notation, values in zip(self.columns, self._notations, cells, strict=True):
            where = f"{table.name}, target column {column!r}"
            numbers, failed = [], []
            for i, cell in enumerate(values):
                try:
                    number = _number(cell, notation)
                    if number is not None:
                        numbers.append(number)
                        known[i] = True
                except DecodeError as error:
                    failed.append(f"{table.source(i, column)}: {error}")
            if not numbers:
                raise ColumnError(
                    f"{where}: no training row has a number; first {failed[0] if failed else 'give some'}"
                )
            result = np.array(numbers)
            mean, spread = float(result.mean()), float(result.std())
            if not 0 < spread < _LARGEST:
                reason = f"all {len(numbers)} training values are {numbers[0]:g}, there is nothing to learn"
                if spread != 0:
                    reason = f"its values reach {np.abs(result).max():g}, too large to scale; divide them beforehand"
                raise ColumnError(f"{where}: {reason}")
            means.append(mean)
            spreads.append(spread)
        return RegressionTarget(
            name=self.name,
            columns=self.columns,
            num_rows=int(known.sum()),
            mean=tuple(means),
            std=tuple(spreads),
            units=tuple(notation.unit for notation in self._notations),
        )

    def _value(self, cells: list[object]) -> np.ndarray:
        numbers = []
        for column, notation, cell in zip(self.columns, self._notations, cells, strict=True):
            try:
                numbers.append(_number(cell, notation))
            except DecodeError as error:
                raise DecodeError(f"{column!r}: {error}" if len(self.columns) > 1 else str(error)) from None
        return np.array([math.nan if number is None else number for number in numbers], dtype=np.float32)

    def render(self, value: Any) -> Any:
        """A float, or with several columns a dict from column to float."""
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64)).tolist()
        return numbers[0] if len(self.columns) == 1 else dict(zip(self.columns, numbers, strict=True))

    def _state(self) -> dict[str, Any]:
        return {"notations": [notation.plain() for notation in self._notations]}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._notations = tuple(Notation.restored(plain) for plain in state["notations"])


def _number(cell: object, notation: Notation) -> float | None:
    number = notation.read(cell)
    if number is not None and abs(number) > _LARGEST:
        raise DecodeError(f"found {short(cell)}, expected a number of at most {_LARGEST:g}")
    return number
