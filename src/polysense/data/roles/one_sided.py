"""One-sided leaks: some cells of a column decide a class although the column as a whole says little.

Where a measurement was made for the ill alone, an empty cell means "healthy" in every row; where a default of 0 stands
for those who never came back, 0 means "lost". Agreement over all rows (`leaks.tells`) sees nothing of it. So every
value, the missing cells, the cells that are there, and every range of numbers whose rows are all of one class is set
against chance: the probability that so many rows, drawn without looking, would be of one class (hypergeometric), times
the number of values and ranges looked at. On columns without any relation to the class one table in a hundred is
flagged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from polysense.data.roles.profile import format_number, quote

__all__ = ["OneSided"]

_ALPHA = 0.01  # of a table's columns, one flagged by chance
_FEWEST = 8  # rows
_FEW_NUMBERS = 50  # distinct, up to which each is looked at by itself too


@dataclass(frozen=True, kw_only=True)
class _Pure:
    """Rows of one class: how they are told, how many, which class, and the probability of it."""

    cells: str
    count: int
    label: int
    p: float


class OneSided:
    """Looks for cells that decide one target's classes, column by column.

    Attributes:
        num_columns: Columns looked at in the table, for chance has as many tries.
    """

    def __init__(self, answer: pl.Series, num_columns: int) -> None:
        """Numbers the classes.

        Args:
            answer: The classes, missing = null.
            num_columns: See above.
        """
        self.num_columns = num_columns
        self._known = answer.is_not_null()
        known = answer.filter(self._known)
        self._classes = known.unique(maintain_order=True)
        numbers = np.arange(len(self._classes))
        is_empty = len(known) == 0
        self._label = (
            numbers if is_empty else known.replace_strict(self._classes, numbers, return_dtype=pl.Int64).to_numpy()
        )
        self._totals = np.bincount(self._label)
        self._chance = _Chance(self._totals)

    def describe(self, column: pl.Series, *, discrete: bool, numeric: bool) -> str | None:
        """What of a column decides a class, if anything does beyond chance.

        Args:
            column: The cells of all rows, missing = null. Those of numeric columns are numbers, those of others are
                compared as they are.
            discrete: Whether single values are looked at.
            numeric: Whether ranges are.

        Returns:
            "is 'ill' in all 57 rows in which the cell is missing (52% of all rows are 'ill')", or None.
        """
        label, num_rows = self._label, len(self._label)
        if num_rows < 2 * _FEWEST or not 2 <= len(self._totals) <= 0.5 * num_rows:
            return None
        column = column if self._known.all() else column.filter(self._known)
        results = _presence(column, label)
        if numeric:
            results += _ranges(column, label)
        if discrete or (numeric and column.n_unique() <= _FEW_NUMBERS):
            results += _values(column, label)
        pure = [
            _Pure(cells=cells, count=count, label=own, p=self._chance(count) * tries)
            for cells, count, own, tries in results
        ]
        best = min(pure, key=lambda one: one.p, default=None)
        if best is None or best.p * self.num_columns >= _ALPHA:
            return None
        share = self._totals[best.label] / num_rows
        name = quote(self._classes[best.label])
        rows = f"all {best.count:,} rows in which the cell is {best.cells}"
        return f"is {name} in {rows} ({share:.0%} of all rows are {name})"


_Result = tuple[str, int, int, float]
"""How some rows are told, how many there are, their one class, and among how many such sets they were found."""


def _presence(column: pl.Series, label: np.ndarray) -> list[_Result]:
    if column.null_count() in (0, len(column)):
        return []
    missing = column.is_null().to_numpy()
    sides = (("missing", missing), ("there", ~missing))
    results: list[_Result] = []
    for cells, rows in sides:
        own = label[rows]
        if _FEWEST <= len(own) < len(label) and (own == own[0]).all():
            results.append((cells, len(own), int(own[0]), 2.0))
    return results


def _values(column: pl.Series, label: np.ndarray) -> list[_Result]:
    rows = pl.DataFrame({"x": column, "y": label}).drop_nulls("x")
    groups = rows.group_by("x", maintain_order=True).agg(count=pl.len(), low=pl.col("y").min(), high=pl.col("y").max())
    tries = float(max(1, (groups["count"] > 1).sum()))
    pure = groups.filter((pl.col("low") == pl.col("high")) & (pl.col("count") >= _FEWEST))
    if len(pure) == 0 or len(groups) < 2:
        return []
    value, count, low, _ = pure.sort("count", descending=True, maintain_order=True).row(0)
    return [(quote(value) if isinstance(value, str) else _number(value), count, low, tries)]


def _ranges(column: pl.Series, label: np.ndarray) -> list[_Result]:
    """The longest runs of one class along a number, by distinct values: at each end, and anywhere."""
    values = column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    known = ~np.isnan(values)  # infinite ones lie at an end, and are told of as they stand
    values, own = values[known], label[known]
    if len(values) < 2 * _FEWEST:
        return []
    order = np.argsort(values, kind="stable")
    values, own = values[order], own[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    if len(starts) < 3:
        return []  # single values say it better
    low, high = np.minimum.reduceat(own, starts), np.maximum.reduceat(own, starts)
    # A value with rows of several classes ends a run: it is a class of its own.
    classes = np.where(low == high, low, -1 - np.arange(len(starts)))
    edges = np.flatnonzero(np.diff(classes, prepend=classes[0] - 1) != 0)
    ends = np.append(edges[1:], len(starts))
    bounds = np.append(starts, len(values))
    counts = bounds[ends] - bounds[edges]
    results: list[_Result] = []
    for run in {0, len(edges) - 1, int(np.argmax(np.where(classes[edges] >= 0, counts, 0)))}:
        if classes[edges[run]] < 0 or counts[run] < _FEWEST or len(edges) < 2:
            continue
        first, last = values[bounds[edges[run]]], values[bounds[ends[run]] - 1]
        if run == 0:
            results.append((_bound("at most", last), int(counts[run]), int(classes[edges[run]]), 2.0))
        elif run == len(edges) - 1:
            results.append((_bound("at least", first), int(counts[run]), int(classes[edges[run]]), 2.0))
        else:
            between = f"from {_number(first)} to {_number(last)}"
            results.append((between, int(counts[run]), int(classes[edges[run]]), float(len(starts))))
    return results


def _bound(side: str, value: float) -> str:
    """Where a run ends; nothing lies beyond an infinite value, which stands for itself."""
    return _number(value) if np.isinf(value) else f"{side} {_number(value)}"


def _number(value: object) -> str:
    return format_number(float(value)) if isinstance(value, (int, float, np.number)) else str(value)


class _Chance:
    """The probability that rows drawn without looking are all of one class."""

    def __init__(self, totals: np.ndarray) -> None:
        self._totals = totals
        # ln k! for k from 0 to the number of rows
        self._factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, totals.sum() + 1)))])

    def __call__(self, count: int) -> float:
        able = self._totals[self._totals >= count]
        log_all = self._choose(int(self._totals.sum()), count)
        return float(sum(np.exp(self._choose(int(total), count) - log_all) for total in able))

    def _choose(self, n: int, k: int) -> float:
        return float(self._factorial[n] - self._factorial[k] - self._factorial[n - k])
