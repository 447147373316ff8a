"""One cell or several as numbers, in the table's own units."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from polysense.config.limits import FractionBelowOne
from polysense.core.logs import get_logger
from polysense.core.schema import Target
from polysense.data.media.media import short
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig, TargetProcessor
from polysense.data.values.notation import Notation, NotationEvidence
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.regression.record import RegressionTarget
from polysense.tasks.regression.scale import NumberScale, choose_transform, fit_scale, plausible_range

__all__ = ["RegressionProcessor", "RegressionTargetConfig"]

_log = get_logger("polysense.data.targets")

_LISTED = 5  # outliers, with their rows
_LARGEST = 1e30  # the head computes in float32, which ends at 3e38


@dataclass(frozen=True, kw_only=True)
class RegressionTargetConfig(TargetConfig):
    """One number or several.

    Attributes:
        columns: The table's columns, one output each; null if there is one, named as the target.
        decimal: The decimal mark, a point or a comma; auto takes the one that a column's training cells tell.
        missing: Numbers that stand for a missing value, such as -999. Nothing is taken for one unasked; what may be one
            is warned of.
        transform: What brings values to a common scale beside mean and deviation, undone in what is predicted: none;
            log, for values that spread over orders of magnitude; quantile, normal scores, for heavy tails on both
            sides; or auto, which takes log where the training values are skewed and their logarithms are not, and
            quantile where more than 1% lie far out even so.
        outliers: What is done with single training values that lie far outside all others, such as a mistyped 1e9.
            ignore: they are reported, and neither the scale nor the loss counts them; keep: they count as all do.
        interval: The share of rows whose value is to lie in the interval that stands beside a prediction (TARGET_low,
            TARGET_high), by split conformal prediction on the validation rows; 0 predicts none.
    """

    task: ClassVar[str] = "regression"
    type: Literal["regression"] = "regression"
    columns: tuple[str, ...] | None = None
    decimal: Literal["auto", ".", ","] = "auto"
    missing: tuple[float, ...] = ()
    transform: Literal["auto", "none", "log", "quantile"] = "auto"
    outliers: Literal["ignore", "keep"] = "ignore"
    interval: FractionBelowOne = 0.9

    def __post_init__(self) -> None:
        if self.columns is not None and (not self.columns or len(set(self.columns)) < len(self.columns)):
            raise ValueError("columns: expected at least one column, each once, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns that the target of that name is read from."""
        return self.columns or (name,)

    def build(self, name: str) -> RegressionProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return RegressionProcessor(name, self)


class _Column(NamedTuple):
    """What was learned of one column."""

    mean: float
    std: float
    range: tuple[float, float]
    scale: NumberScale
    plausible: tuple[float, float]  # beyond lie outliers, which are not trained on


class _Numbers(NamedTuple):
    """A column's numbers, float64 [numbers], and their rows, int64 [numbers]."""

    rows: np.ndarray
    values: np.ndarray

    def outside(self, low: float, high: float) -> _Numbers:
        """Those that are not from one number to another."""
        chosen = ~((self.values >= low) & (self.values <= high))
        return _Numbers(self.rows[chosen], self.values[chosen])

    def listed(self, table: Table, column: str) -> str:
        """The first of them, with where each stands."""
        first = zip(self.values[:_LISTED].tolist(), self.rows[:_LISTED].tolist(), strict=True)
        more = f", and {len(self.rows) - _LISTED} more" if len(self.rows) > _LISTED else ""
        return ", ".join(f"{number:g} ({table.source(i, column)})" for number, i in first) + more


class RegressionProcessor(TargetProcessor):
    """Reads numbers; the value is float32 [columns] in the table's units, NaN where a cell is missing."""

    config: RegressionTargetConfig
    _notations: tuple[Notation, ...]  # of each column

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        read = [NotationEvidence.of(values, self.config.decimal, self.config.missing) for values in cells]
        self._notations = tuple(evidence.notation for evidence in read)
        for column, evidence in zip(self.columns, read, strict=True):
            if evidence.describe():
                _log.info("target column %r: numbers, %s", column, evidence.describe())
        fitted: list[_Column] = []
        warnings: list[tuple[str, str]] = []
        known = np.zeros(len(table), dtype=bool)
        for column, evidence, values in zip(self.columns, read, cells, strict=True):
            numbers, failed = _numbers(values, evidence.notation)
            if not len(numbers.rows):
                first = "give some" if failed is None else f"{table.source(failed[0], column)}: {failed[1]}"
                raise ColumnError(
                    f"{table.name}, target column {column!r}: no training row has a number; first {first}"
                )
            known[numbers.rows] = True
            fitted.append(self._fit_column(table, column, numbers.values))
            warnings += [(column, warning) for warning in self._warnings(table, column, evidence, numbers, fitted[-1])]
        several = len(self.columns) > 1
        self.warnings = tuple(f"{column!r}: {warning}" if several else warning for column, warning in warnings)
        return RegressionTarget(
            name=self.name,
            columns=self.columns,
            num_rows=int(known.sum()),
            mean=tuple(column.mean for column in fitted),
            std=tuple(column.std for column in fitted),
            ranges=tuple(column.range for column in fitted),
            units=tuple(notation.unit for notation in self._notations),
            scales=tuple(column.scale for column in fitted),
            interval=self.config.interval,
        )

    def _fit_column(self, table: Table, column: str, values: np.ndarray) -> _Column:
        """What one column's training values tell."""
        where = f"{table.name}, target column {column!r}"
        bounds = plausible_range(values) if self.config.outliers == "ignore" else None
        plausible = values if bounds is None else values[(values >= bounds[0]) & (values <= bounds[1])]
        mean, spread = float(plausible.mean()), float(plausible.std())
        if not 0 < spread < _LARGEST:
            if spread != 0:
                reason = f"its values reach {np.abs(values).max():g}, too large to scale; divide them beforehand"
            else:
                reason = f"all {len(plausible)} training values are {plausible[0]:g}, there is nothing to learn"
            raise ColumnError(f"{where}: {reason}")
        chosen = self.config.transform
        transform = choose_transform(values, bounds) if chosen == "auto" else chosen
        if transform != "none":
            _log.info("target column %r: %s transform of its values%s", column, transform, _why(chosen, transform))
        low, high = (float(edge) for edge in np.quantile(plausible, (0.05, 0.95)))
        within = float(plausible.min()), float(plausible.max())
        return _Column(mean, spread, (low, high), fit_scale(values, transform, bounds), within)

    def _warnings(
        self, table: Table, column: str, evidence: NotationEvidence, numbers: _Numbers, fitted: _Column
    ) -> list[str]:
        """What may be read otherwise than it was meant, and which values are outlying, where, and what is done."""
        setting = f"data.targets.{self.name}"
        low, high = fitted.plausible
        outside = numbers.outside(low, high)
        rows = outside.rows.tolist()
        marks = evidence.sentinels
        are_marks = bool(rows) and {*outside.values.tolist()} == set(marks.counts)  # and then told of once
        decimal = f"set {setting}.decimal to '.' or ','"
        warnings = evidence.warnings(decimal, None if are_marks else f"{setting}.missing")
        if not rows:
            return warnings
        listed = outside.listed(table, column)
        lie, are = ("lies", "is") if len(rows) == 1 else ("lie", "are")
        mark = f"; if it stands for a missing value, {marks.remedy(f'{setting}.missing')}; "
        remedy = mark if are_marks else ". Mend the cells, or "
        return [
            *warnings,
            f"{len(rows)} of {len(numbers.rows)} training values {lie} far outside the others, which reach from "
            f"{low:g} to {high:g}, and {are} not trained on: {listed}{remedy}set {setting}.outliers=keep if they are "
            f"right",
        ]

    def held_out_warnings(self, train: Table, held_out: Table) -> tuple[str, ...]:
        if self.config.outliers != "ignore":
            return ()
        messages = []
        for column, notation in zip(self.columns, self._notations, strict=True):
            if not held_out.has(column):
                continue
            # What can't be read is listed elsewhere.
            known, _ = _numbers(train.cells(column, literal=True), notation)
            others, _ = _numbers(held_out.cells(column, literal=True), notation)
            bounds = plausible_range(np.concatenate([known.values, others.values]))
            if bounds is None:
                continue
            outside = others.outside(*bounds)
            if len(outside.rows):
                listed = outside.listed(held_out, column)
                messages.append(
                    f"{len(outside.rows)} of {len(others.rows)} values that the model is scored on lie far outside the "
                    f"training values, and may decide every score by themselves: {listed}. Mend or empty the cells"
                )
        return tuple(messages)

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


def _why(requested: str, transform: str) -> str:
    if requested != "auto":
        return ", as data.targets says"
    return ", which are skewed" if transform == "log" else ", of which many lie far out"


def _numbers(cells: Iterable[object], notation: Notation) -> tuple[_Numbers, tuple[int, DecodeError] | None]:
    """A column's numbers; and the first row that can't be read, with the reason, where there is one."""
    rows, numbers, failed = array("q"), array("d"), None
    for i, cell in enumerate(cells):
        try:
            number = _number(cell, notation)
        except DecodeError as error:
            failed = failed or (i, error)
            continue
        if number is not None:
            rows.append(i)
            numbers.append(number)
    return _Numbers(np.array(rows, dtype=np.int64), np.array(numbers, dtype=np.float64)), failed


def _number(cell: object, notation: Notation) -> float | None:
    number = notation.read(cell)
    if number is not None and abs(number) > _LARGEST:
        raise DecodeError(f"found {short(cell)}, expected a number of at most {_LARGEST:g}")
    return number
