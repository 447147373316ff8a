"""Simple imputation: missing cells of numbers and categories from what the training rows hold, one column at a time.

By default a missing cell is masked, which lets a model learn what absence means; imputation takes that away and is
asked for column by column. What is imputed stands beside the cells (`Table.imputations`), so predictions can name it.
It depends on its own row and on what was fitted: targets are never read. Cells are seen as they are read: cleaned, in
their column's notation, and those missing that say so in words or by a number that the recipe names. `data.impute`
takes a trained model instead.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
from jaxtyping import Float64

from polysense.config.base import Configured, Family
from polysense.config.codec import from_dict, to_dict
from polysense.config.limits import PositiveInt
from polysense.data.cleaning import CellCleaner, CleaningConfig
from polysense.data.tables.sources import Imputations, Table
from polysense.data.training_cells import sampled
from polysense.data.values.notation import Notation
from polysense.errors import ColumnError, ConfigError, DecodeError

__all__ = ["ImputationConfig", "IterativeConfig", "MeanConfig", "MedianConfig", "ModeConfig", "NearestConfig",
           "TableImputer"]  # fmt: skip

_MOST_NEIGHBORS = 2_000  # training rows that are kept to be neighbors
_MOST_FITTED = 20_000  # training rows of a regression
_LARGEST = 1e100  # of the numbers that a regression reads


@dataclass(frozen=True, kw_only=True)
class ImputationConfig(Family, ABC, family="imputation", homes=("data.imputation", "modalities.*.cleaning")):
    """What stands in for the missing cells of a column, or for what is missing within its cells."""

    is_numeric: ClassVar[bool] = True
    """Whether it is of columns of numbers alone."""

    reads_others: ClassVar[bool] = False
    """Whether it reads the row's other numbers."""

    def within_cells(self) -> CleaningConfig | None:
        """What fills gaps within cells; None if it stands in for missing cells."""
        return None

    def create(self) -> Imputation:
        """What finds the values, not yet fitted."""
        if self.builds is None:
            raise ConfigError(f"the imputation {self.type!r} can't be made: no class names its config")
        made: Imputation = self.builds(self)
        return made


@dataclass(frozen=True, kw_only=True)
class MeanConfig(ImputationConfig):
    """The mean of the training cells."""

    type: Literal["mean"] = "mean"


@dataclass(frozen=True, kw_only=True)
class MedianConfig(ImputationConfig):
    """The median of the training cells."""

    type: Literal["median"] = "median"


@dataclass(frozen=True, kw_only=True)
class ModeConfig(ImputationConfig):
    """The commonest training cell; of several the first by name."""

    is_numeric: ClassVar[bool] = False
    type: Literal["mode"] = "mode"


@dataclass(frozen=True, kw_only=True)
class NearestConfig(ImputationConfig):
    """The mean of the nearest training rows that have the cell, by the row's other numbers, each in its own deviations.

    Up to 2,000 training rows are kept. Distances are those of scikit-learn's `KNNImputer`: over the numbers that both
    rows have, weighed up for those that they lack. A row without any other number has the training mean.

    Attributes:
        neighbors: How many rows are averaged.
    """

    reads_others: ClassVar[bool] = True
    type: Literal["nearest"] = "nearest"
    neighbors: PositiveInt = 5


@dataclass(frozen=True, kw_only=True)
class IterativeConfig(ImputationConfig):
    """A ridge regression on the row's other numbers, which are imputed in turn: scikit-learn's `IterativeImputer`.

    Attributes:
        rounds: How often all columns are gone through.
    """

    reads_others: ClassVar[bool] = True
    type: Literal["iterative"] = "iterative"
    rounds: PositiveInt = 10


class Imputation(Configured, ABC):
    """Finds a value for a missing cell.

    Args:
        config: The settings.
    """

    def __init__(self, config: ImputationConfig) -> None:
        del config

    @abstractmethod
    def fit(self, numbers: Float64[np.ndarray, "rows columns"], own: int, cells: Sequence[object]) -> None:
        """Learns from the training rows.

        Args:
            numbers: Of the columns that are read, NaN where missing; the column itself alone if no others are.
            own: Which of them is the column itself; -1 where it has no numbers.
            cells: The column's, cleaned; of a column of numbers those that are, and None.
        """

    @abstractmethod
    def impute(self, numbers: Float64[np.ndarray, " columns"]) -> object:
        """The value for a row; None if there is none.

        Args:
            numbers: The row's, as in `fit`.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was learned, as plain values for JSON."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""


def _mean(numbers: Float64[np.ndarray, " rows"]) -> float:
    """The mean of those that are there; halves of numbers near a float's end, whose sum would be beyond it."""
    with np.errstate(over="ignore"):
        mean = float(np.nanmean(numbers))
    return mean if math.isfinite(mean) else float(np.nanmean(numbers / len(numbers)) * len(numbers))


class _Constant(Imputation):
    """One value for all rows."""

    _value: object = None

    def impute(self, numbers: Float64[np.ndarray, " columns"]) -> object:
        """See `Imputation`."""
        del numbers
        return self._value

    def state(self) -> dict[str, Any]:
        """See `Imputation`."""
        return {"value": self._value}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Imputation`."""
        self._value = state["value"]


class Mean(_Constant, config=MeanConfig):
    """See `MeanConfig`."""

    def fit(self, numbers: Float64[np.ndarray, "rows columns"], own: int, cells: Sequence[object]) -> None:
        """See `Imputation`."""
        self._value = _mean(numbers[:, own])


class Median(_Constant, config=MedianConfig):
    """See `MedianConfig`."""

    def fit(self, numbers: Float64[np.ndarray, "rows columns"], own: int, cells: Sequence[object]) -> None:
        """See `Imputation`."""
        self._value = float(np.nanmedian(numbers[:, own]))


class Mode(_Constant, config=ModeConfig):
    """See `ModeConfig`."""

    def fit(self, numbers: Float64[np.ndarray, "rows columns"], own: int, cells: Sequence[object]) -> None:
        """See `Imputation`."""
        del own, numbers
        counts = Counter(tuple(cell) if isinstance(cell, list) else cell for cell in cells if _is_value(cell))
        value = min(counts, key=lambda cell: (-counts[cell], str(cell)), default=None)
        self._value = list(value) if isinstance(value, tuple) else value


def _is_value(cell: object) -> bool:
    """Whether a cell can be compared with others: a value, or a list of some."""
    return isinstance(cell, (str, int, float)) or (
        isinstance(cell, list) and all(item is None or isinstance(item, (str, int, float)) for item in cell)
    )


class Nearest(Imputation, config=NearestConfig):
    """See `NearestConfig`."""

    def __init__(self, config: NearestConfig) -> None:
        super().__init__(config)
        self._neighbors = config.neighbors
        self._own = 0
        self._rows = np.zeros((0, 1))
        self._scale = np.ones(1)
        self._mean = 0.0

    def fit(self, numbers: Float64[np.ndarray, "rows columns"], own: int, cells: Sequence[object]) -> None:
        """See `Imputation`."""
        self._own = own
        self._mean = _mean(numbers[:, own])
        with np.errstate(over="ignore"):  # infinite then: the column says nothing of what is near
            deviations = [np.nanstd(column) if np.isfinite(column).any() else 0.0 for column in numbers.T]
        self._scale = np.array([deviation if deviation > 0 else 1.0 for deviation in deviations])
        there = np.flatnonzero(np.isfinite(numbers[:, own]))
        self._rows = numbers[np.asarray(sampled(there.tolist(), _MOST_NEIGHBORS), dtype=np.int64)]

    def impute(self, numbers: Float64[np.ndarray, " columns"]) -> object:
        """See `Imputation`."""
        others = np.arange(len(numbers)) != self._own
        with np.errstate(all="ignore"):
            gaps = ((self._rows - numbers) / self._scale)[:, others]
            known = np.isfinite(gaps)
            num_known = known.sum(axis=1)
            squares = np.where(known, gaps, 0.0) ** 2
            distances = np.where(num_known > 0, squares.sum(axis=1) * (others.sum() / num_known), np.inf)
        near = np.argsort(distances, kind="stable")[: self._neighbors]
        near = near[np.isfinite(distances[near])]
        return _mean(self._rows[near, self._own]) if len(near) else self._mean

    def state(self) -> dict[str, Any]:
        """See `Imputation`."""
        rows = [[None if math.isnan(number) else number for number in row] for row in self._rows.tolist()]
        return {"own": self._own, "rows": rows, "scale": self._scale.tolist(), "mean": self._mean}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Imputation`."""
        self._own, self._mean = state["own"], state["mean"]
        self._scale = np.array(state["scale"])
        self._rows = np.array(state["rows"], dtype=np.float64).reshape(-1, len(self._scale))


class Iterative(Imputation, config=IterativeConfig):
    """See `IterativeConfig`."""

    def __init__(self, config: IterativeConfig) -> None:
        super().__init__(config)
        self._rounds = config.rounds
        self._own = 0
        self._means = np.zeros(1)
        self._steps: list[tuple[int, list[int], list[float], float]] = []

    def fit(self, numbers: Float64[np.ndarray, "rows columns"], own: int, cells: Sequence[object]) -> None:
        """See `Imputation`."""
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401 (makes the next import work)
        from sklearn.impute import IterativeImputer

        self._own = own
        chosen = numbers[np.asarray(sampled(range(len(numbers)), _MOST_FITTED), dtype=np.int64)]
        self._means = np.array([_mean(column) if np.isfinite(column).any() else 0.0 for column in numbers.T])
        if chosen.shape[1] == 1:
            return
        # Squares of larger ones are no floats, and a regression on them would be of nothing else.
        chosen = np.where(np.abs(chosen) > _LARGEST, np.nan, chosen)
        if not np.isfinite(chosen[:, own]).any():
            return
        whole = np.where(np.isfinite(chosen).any(axis=0), chosen, 0.0)
        imputer = IterativeImputer(max_iter=self._rounds, random_state=0, skip_complete=False, tol=1e-3)
        imputer.fit(whole)
        self._means = imputer.initial_imputer_.statistics_
        self._steps = [
            (int(step.feat_idx), step.neighbor_feat_idx.tolist(), step.estimator.coef_.tolist(),
             float(step.estimator.intercept_))
            for step in imputer.imputation_sequence_
        ]  # fmt: skip

    def impute(self, numbers: Float64[np.ndarray, " columns"]) -> object:
        """See `Imputation`."""
        with np.errstate(invalid="ignore"):
            missing = ~(np.abs(numbers) <= _LARGEST)
        row = np.where(missing, self._means, numbers)
        for column, others, weights, bias in self._steps:
            if missing[column]:
                row[column] = math.fsum(w * row[other] for w, other in zip(weights, others, strict=True)) + bias
        return float(row[self._own])

    def state(self) -> dict[str, Any]:
        """See `Imputation`."""
        return {"own": self._own, "means": self._means.tolist(), "steps": [list(step) for step in self._steps]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Imputation`."""
        self._own, self._means = state["own"], np.array(state["means"])
        self._steps = [(step[0], step[1], step[2], step[3]) for step in state["steps"]]


class TableImputer:
    """Imputes missing cells of a table's columns, each by its own means.

    Attributes:
        configs: By the table's column.
        reads: The columns of numbers that it looks at, and those that it imputes.
        counts: Training cells that were missing and imputed, by column; none of a loaded one.
    """

    def __init__(
        self,
        configs: Mapping[str, ImputationConfig],
        notations: Mapping[str, Notation],
        cleaners: Mapping[str, CellCleaner] | None = None,
    ) -> None:
        self.configs = dict(configs)
        self._notations = dict(notations)
        self._cleaners = dict(cleaners or {})
        self._imputations = {name: config.create() for name, config in configs.items()}
        self.reads = tuple(dict.fromkeys([*configs, *notations]))
        self.counts: dict[str, int] = {}
        self._known: WeakKeyDictionary[Table, Table] = WeakKeyDictionary()

    @staticmethod
    def fit(
        table: Table,
        configs: Mapping[str, ImputationConfig],
        numeric: Mapping[str, Callable[[Sequence[object]], Notation]],
        cleaning: Mapping[str, Sequence[CleaningConfig]] | None = None,
    ) -> TableImputer:
        """Learns from the training rows.

        Args:
            table: The training rows.
            configs: By the table's column.
            numeric: The input columns of numbers in the table, which some means read, and how cells of theirs are
                read.
            cleaning: What the columns' cells are changed by before they are read.

        Raises:
            ColumnError: A column has no training cell.
        """
        for name in configs:
            table.require(name, "column to impute")
        reads_others = any(config.reads_others for config in configs.values())
        read = [name for name in numeric if reads_others or name in configs]
        cleaners = {name: CellCleaner(each) for name, each in (cleaning or {}).items() if name in {*configs, *read}}
        cells = {name: list(table.cells(name)) for name in dict.fromkeys([*configs, *read])}
        cells |= {name: list(cleaner.fitted(cells[name])) for name, cleaner in cleaners.items()}
        notations = {name: numeric[name](cells[name]) for name in read}
        imputer = TableImputer(configs, notations, cleaners)
        numbers = {name: _read(notation, cells[name]) for name, notation in notations.items()}
        for name, imputation in imputer._imputations.items():
            own, matrix = imputer._own(name, numbers)
            known = cells[name]
            if own >= 0:
                known = [cell if math.isfinite(x) else None for cell, x in zip(known, matrix[:, own], strict=True)]
            if all(cell is None for cell in known):
                raise ColumnError(f"{table.name}, column {name!r}: no training cell to impute from; leave it out")
            imputation.fit(matrix, own, known)
        filled = imputer.fill(table).imputations
        assert filled is not None
        imputer.counts = {name: len(filled.cells[name]) for name in configs}
        return imputer

    def fill(self, table: Table) -> Table:
        """The table with what imputes its missing cells; a column that it lacks is missing in all its rows."""
        if table.imputations is not None and table.imputations.by is self:
            return table
        if table not in self._known:
            self._known[table] = self._filled(table.changed(imputations=None))
        return self._known[table]

    def remarks(self) -> list[str]:
        """What was imputed in the training rows, a sentence for each column."""
        return [
            f"{name}: {self.counts[name]:,} missing training cells are imputed ({config.type})"
            for name, config in self.configs.items()
            if name in self.counts
        ]

    def plain(self) -> dict[str, Any]:
        """It as plain values for JSON."""
        return {
            "configs": {name: to_dict(config) for name, config in self.configs.items()},
            "notations": {name: notation.plain() for name, notation in self._notations.items()},
            "cleaning": {name: cleaner.plain() for name, cleaner in self._cleaners.items()},
            "states": {name: imputation.state() for name, imputation in self._imputations.items()},
        }

    @staticmethod
    def restored(plain: Mapping[str, Any]) -> TableImputer:
        """Rebuilds what `plain` gave."""
        configs: dict[str, ImputationConfig] = {
            name: from_dict(ImputationConfig, each, where="the saved imputation")
            for name, each in plain["configs"].items()
        }
        notations = {name: Notation.restored(each) for name, each in plain["notations"].items()}
        cleaners = {name: CellCleaner.restored(each) for name, each in plain.get("cleaning", {}).items()}
        imputer = TableImputer(configs, notations, cleaners)
        for name, state in plain["states"].items():
            imputer._imputations[name].restore(state)
        return imputer

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._known = WeakKeyDictionary()

    def _own(self, name: str, numbers: Mapping[str, np.ndarray]) -> tuple[int, np.ndarray]:
        """Which column of the numbers is the one to impute, and the numbers that it reads."""
        config = self.configs[name]
        names = [*numbers] if config.reads_others else [name] if name in numbers else []
        rows = max((len(each) for each in numbers.values()), default=0)
        matrix = np.stack([numbers[each] for each in names], axis=1) if names else np.zeros((rows, 0))
        return names.index(name) if name in names else -1, matrix

    def _cells(self, table: Table, name: str) -> Sequence[object]:
        """A column's cells as they are read; one that the table lacks is missing in all its rows."""
        cells: Sequence[object] = table.cells(name) if table.has(name) else [None] * len(table)
        cleaner = self._cleaners.get(name)
        return cells if cleaner is None else [cleaner.cell(cell) for cell in cells]

    def _filled(self, table: Table) -> Table:
        cells = {name: self._cells(table, name) for name in self.reads}
        numbers = {name: _read(notation, cells[name]) for name, notation in self._notations.items()}
        imputed: dict[str, dict[int, Any]] = {}
        for name, imputation in self._imputations.items():
            _, matrix = self._own(name, numbers)
            notation = self._notations.get(name)
            imputed[name] = {}
            for i, cell in enumerate(cells[name]):
                is_word = notation is not None and math.isnan(numbers[name][i]) and notation.reads_none(cell)
                if cell is None or is_word:
                    value = imputation.impute(matrix[i] if matrix.shape[1] else np.zeros(0))
                    if value is not None:
                        imputed[name][int(table.rows[i])] = self._cell(name, value)
        added = [pl.lit(None).alias(name) for name in self.configs if not table.has(name)]
        return replace(table, frame=table.frame.with_columns(added), imputations=Imputations(by=self, cells=imputed))

    def _cell(self, name: str, value: object) -> object:
        """A number as its column writes it, where it writes a unit; else as it is."""
        notation = self._notations.get(name)
        if notation is None or not isinstance(value, float) or notation.written == "{}":
            return value
        text = repr(value)
        return notation.written.format(text.replace(".", ",") if notation.decimal == "," else text)


def _read(notation: Notation, cells: Sequence[object]) -> Float64[np.ndarray, " rows"]:
    """Cells as numbers, NaN where they are missing or can't be read."""
    values = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        with contextlib.suppress(DecodeError):  # it is listed where the column is read
            number = notation.read(cell)
            values[i] = np.nan if number is None else number
    return values
