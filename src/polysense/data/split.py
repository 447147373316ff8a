"""Which rows train, which choose and which judge.

Every choice is a hash of the row's (or the group's) identity and the seed, so a split is the same on every machine and
is never stored. Stratification apportions whole rows: each class gets the floor of its share everywhere, and the seats
that are left go first to the classes that would have none, then to the largest remainders. So a part has the asked
size, each class is within one row of its share there, and a class seen once trains.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import ClassVar, Literal

import numpy as np

from polysense.config.base import Family
from polysense.core.logs import get_logger, remark
from polysense.core.random import fold
from polysense.core.spelling import did_you_mean
from polysense.data.tables.sources import Table
from polysense.data.values.category_key import unified
from polysense.errors import ConfigError, SplitError

__all__ = [
    "SPLITS",
    "ColumnSplitConfig",
    "FractionSplitConfig",
    "GroupSplitConfig",
    "RandomSplitConfig",
    "SplitConfig",
    "check_fractions",
    "groups_of",
    "split",
    "split_name",
]

logger = get_logger("polysense.data.split")

SPLITS = ("train", "validation", "test")
_SPELLINGS = {
    "train": ("train", "training", "trn", "tr"),
    "validation": ("validation", "val", "valid", "dev", "development"),
    "test": ("test", "testing", "tst"),
}


def split_name(value: object) -> str | None:
    """The split that a split column's value names by its usual spelling ("dev" is validation), or None."""
    spelled = _spell(value)
    return next((name for name, spellings in _SPELLINGS.items() if spelled in spellings), None)


def _spell(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a fold's number, where a data frame had missing cells
    return unified(str(value)).casefold()


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Family, family="split", homes=("data.time_split",)):
    """How the rows are split into training, validation and test."""

    @property
    def grouping(self) -> str | None:
        """The column whose groups stay whole; None where rows are on their own."""
        return None

    @abstractmethod
    def assign(self, table: Table, labels: Sequence[object] | None, seed: int) -> np.ndarray:
        """The split of each row: int8 [rows], a position in SPLITS, or -1 for none."""

    in_time: ClassVar[bool] = False
    """Whether the rows of a part come after those of the parts before it."""

    @property
    def resampled(self) -> str | None:
        """The column whose groups intervals count as one; those that stay whole, unless a split says otherwise."""
        return self.grouping

    names_test: ClassVar[bool] = True
    """Whether the rows that it tests on are named by the table; else they are drawn, and others would do as well."""

    def within(self, parts: np.ndarray) -> SplitConfig:
        """How the training rows of a fold are split once more, into those that train and those that choose.

        Args:
            parts: What `assign` gave for the whole table.
        """
        raise ConfigError(f"data.split: {self.type!r} does not say how the rows of a fold are split; take another one")

    def without_validation(self, table: Table) -> SplitConfig:
        """The same split with the validation rows among those that train; a test stays where the table names it.

        Args:
            table: The whole table.
        """
        raise ConfigError(f"data.split: {self.type!r} does not say how to train on all rows; take another one")


def split(
    table: Table, config: SplitConfig, *, labels: Sequence[object] | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Splits a table.

    Args:
        table: The table.
        config: How.
        labels: A class per row to stratify by (None = unknown, a class of its own); of no use to a regression.
        seed: Another seed, another split.

    Returns:
        For "train", "validation" and "test" the positions in the table, int64, sorted and disjoint. Together they are
        all rows, unless a split column says otherwise.

    Raises:
        SplitError: There are too few rows or groups, or the split column names no training rows.
        TableError: The split's column does not exist.
    """
    if labels is not None and len(labels) != len(table):
        raise SplitError(f"{table.name}: found {len(labels):,} labels for {len(table):,} rows")
    parts = config.assign(table, labels, seed)
    positions = {name: np.flatnonzero(parts == k) for k, name in enumerate(SPLITS)}
    if not len(positions["train"]):
        raise SplitError(f"{table.name}: no row of {len(table):,} is left for training")
    logger.info("%s: %s", table.name, ", ".join(f"{len(rows):,} {name}" for name, rows in positions.items()))
    return positions


def check_fractions(validation: float, test: float) -> None:
    """Raises ConfigError where two shares of the rows leave none to train on."""
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise ConfigError(
            f"the split's fractions are validation {validation:g} and test {test:g}; expected each to be at least 0, "
            f"and both together to be below 1"
        )


@dataclass(frozen=True, kw_only=True)
class RandomSplitConfig(SplitConfig):
    """Splits at random.

    Attributes:
        validation: Share of the rows that chooses the best checkpoint; 0 for none.
        test: Fraction of the rows that is used for the test and never for training; 0 for none, for example if there is
            a separate test table.
    """

    validation: float = 0.15
    test: float = 0.15

    names_test: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fractions(self.validation, self.test)

    def within(self, parts: np.ndarray) -> RandomSplitConfig:
        return replace(self, test=0.0)

    def without_validation(self, table: Table) -> RandomSplitConfig:
        return replace(self, validation=0.0, test=0.0)


@dataclass(frozen=True, kw_only=True)
class FractionSplitConfig(RandomSplitConfig):
    """Splits the rows at random, every class in proportion.

    Attributes:
        stratify: Keep each class's share equal in all parts (classification). A class seen once goes to training.
    """

    type: Literal["fraction"] = "fraction"
    stratify: bool = True

    def assign(self, table: Table, labels: Sequence[object] | None, seed: int) -> np.ndarray:
        classes = _classes(labels if self.stratify else None, len(table))
        keys = fold(seed, "split", table.rows)
        return _apportion(classes, keys, self.validation, self.test, table.name)


@dataclass(frozen=True, kw_only=True)
class GroupSplitConfig(RandomSplitConfig):
    """Splits at random but keeps each group (a speaker, a patient) in one part, so that the test is on unseen groups.

    Attributes:
        column: The column that names a row's group. Rows with no group there are each a group of their own.
    """

    type: Literal["group"] = "group"
    column: str

    @property
    def grouping(self) -> str | None:
        return self.column

    def assign(self, table: Table, labels: Sequence[object] | None, seed: int) -> np.ndarray:
        index, groups = _groups(table, self.column)
        sizes = np.bincount(groups, minlength=len(index))
        held_out_fractions = {1: self.validation, 2: self.test}
        parts = 1 + sum(fraction > 0 for fraction in held_out_fractions.values())
        where = f"{table.name}, column {self.column!r}"
        if len(index) < parts:
            raise SplitError(f"{where}: {len(index):,} groups can't be split into {parts} parts; set a fraction to 0")
        free = [int(g) for g in np.argsort([int(fold(seed, "split", *name)) for name in index], kind="stable")]
        chosen = np.zeros(len(index), dtype=np.int8)
        left = parts
        for part in (2, 1):
            requested = held_out_fractions[part] * len(table)
            if not requested:
                continue
            left -= 1
            taken = _fill(free, sizes, requested, keep=left)
            chosen[taken] = part
            free = [group for group in free if chosen[group] == 0]
            got = int(sizes[taken].sum())
            if abs(got - requested) > max(1.0, 0.5 * requested):
                message = (
                    "%s: %s got %d rows where %.0f were asked for: groups stay whole, the largest of %d has %d rows"
                )
                remark(logger, message, where, SPLITS[part], got, requested, len(index), sizes.max())
        parts_of_rows: np.ndarray = chosen[groups]
        return parts_of_rows


def groups_of(table: Table, column: str) -> np.ndarray:
    """The number of each row's group, int64 [rows], from 0; a row with no group there is one of its own.

    Raises:
        TableError: There is no such column.
    """
    return _groups(table, column)[1]


def _groups(table: Table, column: str) -> tuple[dict[tuple[str, str], int], np.ndarray]:
    """The groups' names with their numbers, and each row's."""
    table.require(column, "group column")
    names = (
        ("group", _spell(cell)) if cell is not None else ("row", str(row))
        for cell, row in zip(table.cells(column), table.rows, strict=True)
    )
    index: dict[tuple[str, str], int] = {}
    numbers = (index.setdefault(name, len(index)) for name in names)
    return index, np.fromiter(numbers, dtype=np.int64, count=len(table))


def _fill(free: Sequence[int], sizes: np.ndarray, requested: float, keep: int) -> list[int]:
    """Groups, in the given random order, whose rows come close to the number asked for.

    A group is taken if that brings the total nearer; the order is random, so small groups are not favored.
    """
    taken: list[int] = []
    total = 0
    for group in free:
        if len(free) - len(taken) <= keep:
            break
        if abs(total + sizes[group] - requested) < abs(total - requested):
            taken.append(group)
            total += int(sizes[group])
    # Every group is more than twice too big: the smallest is the nearest to what was asked for.
    return taken or [min(free, key=lambda group: int(sizes[group]))]


@dataclass(frozen=True, kw_only=True)
class ColumnSplitConfig(SplitConfig):
    """Takes the split from a column of the table.

    Attributes:
        column: The column that names a row's split.
        train: The values that mean training; by default train, training.
        validation: The values that mean validation; by default val, valid, validation, dev.
        test: The values that mean test; by default test, testing. A row with any other value is left out.
        fraction: If no row is named validation, the share of the training rows that is set aside for it; 0 for none.
        stratify: Keep each class's share equal where rows are set aside.
        group: A column (a speaker, a patient) whose groups stay whole where rows are set aside; null for none. It goes
            before `stratify`.
    """

    type: Literal["column"] = "column"
    column: str
    train: tuple[str | int, ...] | None = None
    validation: tuple[str | int, ...] | None = None
    test: tuple[str | int, ...] | None = None
    fraction: float = 0.15
    stratify: bool = True
    group: str | None = None

    @property
    def grouping(self) -> str | None:
        return self.group

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fractions(self.fraction, 0.0)
        spelled = [_spell(value) for values in (self.train, self.validation, self.test) for value in values or ()]
        twice = sorted({value for value in spelled if spelled.count(value) > 1})
        if twice:
            raise ConfigError(f"the split column's value {twice[0]!r} stands for two parts; expected each value once")

    def within(self, parts: np.ndarray) -> RandomSplitConfig:
        """As many rows choose as the table names; where it names none, `fraction` of them."""
        num_train, num_validation = (int((parts == part).sum()) for part in (0, 1))
        share = num_validation / max(num_train + num_validation, 1)
        if self.group is not None:
            return GroupSplitConfig(column=self.group, validation=share, test=0.0)
        return FractionSplitConfig(validation=share, test=0.0, stratify=self.stratify)

    def without_validation(self, table: Table) -> ColumnSplitConfig:
        spelled = dict.fromkeys(_spell(cell) for cell in table.cells(self.column) if cell is not None)
        trained = tuple(value for value in spelled if self.part_of(value) in ("train", "validation"))
        return replace(self, train=trained, validation=(), fraction=0.0)

    def part_of(self, value: object) -> str | None:
        """The split that a cell of the column names, None if it names none."""
        for name, values in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if values is not None and value is not None and _spell(value) in map(_spell, values):
                return name
        named = None if value is None else split_name(value)
        return named if named is not None and getattr(self, named) is None else None

    def assign(self, table: Table, labels: Sequence[object] | None, seed: int) -> np.ndarray:
        table.require(self.column, "split column")
        where = f"{table.name}, column {self.column!r}"
        spelled: dict[str, str] = {}  # one text for each value
        cells = [
            None if cell is None else spelled.setdefault(text := _spell(cell), text)
            for cell in table.cells(self.column)
        ]
        counts = Counter("(missing)" if cell is None else cell for cell in cells)
        result = ", ".join(f"{value!r} ({count:,} rows)" for value, count in list(counts.items())[:12])
        named = {value: SPLITS.index(name) for name, spellings in _SPELLINGS.items() for value in spellings}
        for part, values in enumerate((self.train, self.validation, self.test)):
            if values is None:
                continue
            named = {value: k for value, k in named.items() if k != part}
            for value in map(_spell, values):
                if value not in counts:
                    hint = did_you_mean(value, counts)
                    raise SplitError(
                        f"{where}: no row has the value {value!r}, which the split asks for{hint} Found {result}"
                    )
                named[value] = part
        parts = np.array([-1 if cell is None else named.get(cell, -1) for cell in cells], dtype=np.int8)
        if not (parts == 0).any():
            raise SplitError(
                f"{where}: no row is for training: found {result or 'no rows'}, expected 'train' or 'training'; name "
                f"the split's values, for example split.train=[{next(iter(counts), 'a')}]"
            )
        unused = {value: count for value, count in counts.items() if named.get(value, -1) < 0}
        if unused:
            listed = ", ".join(f"{value!r} ({count:,})" for value, count in list(unused.items())[:8])
            remark(logger, "%s: %d rows are in no split: %s", where, sum(unused.values()), listed)
        if self.fraction and not (parts == 1).any():
            train = np.flatnonzero(parts == 0)
            if self.group is not None:
                groups = GroupSplitConfig(column=self.group, validation=self.fraction, test=0.0)
                parts[train] = groups.assign(table.select(train), None, seed)
                return parts
            chosen = None if labels is None or not self.stratify else compress(labels, (parts == 0).tolist())
            keys = fold(seed, "split", table.rows[train])
            parts[train] = _apportion(_classes(chosen, len(train)), keys, self.fraction, 0.0, where)
            logger.info(
                "%s: no validation rows; %d of %d training rows set aside", where, (parts == 1).sum(), len(train)
            )
        return parts


def _classes(labels: Iterable[object] | None, num_rows: int) -> np.ndarray:
    """A class number per row, int64 [rows]; lists of labels are classes too."""
    if labels is None:
        return np.zeros(num_rows, dtype=np.int64)
    index: dict[str, int] = {}
    numbers = (index.setdefault(repr(label), len(index)) for label in labels)
    return np.fromiter(numbers, dtype=np.int64, count=num_rows)


def _apportion(classes: np.ndarray, keys: np.ndarray, validation: float, test: float, where: str) -> np.ndarray:
    """Splits rows by fraction, each class (int64 [rows]) in proportion, in the order of their keys (uint64 [rows]).

    Returns:
        int8 [rows], positions in SPLITS.
    """
    num_rows = len(classes)
    fractions = {part: fraction for part, fraction in ((2, test), (1, validation)) if fraction > 0}
    if num_rows <= len(fractions):
        raise SplitError(
            f"{where}: {num_rows:,} rows can't be split into {len(fractions) + 1} parts; add rows, or set a fraction "
            f"to 0"
        )
    # At least one row each, and at least one left to train on.
    requested = {part: max(1, math.floor(fraction * num_rows + 0.5)) for part, fraction in fractions.items()}
    order = np.lexsort((keys, classes))
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    sizes = np.diff(starts, append=num_rows)
    seats = _seats(sizes, keys[order][starts], fractions, requested)
    if len(sizes) > 1 and any(seats[part].sum() < 0.5 * requested[part] for part in fractions):
        remark(
            logger,
            "%s: %d classes in %d rows are too many to stratify by: split at random",
            where,
            len(sizes),
            num_rows,
        )
        return _apportion(np.zeros_like(classes), keys, validation, test, where)
    parts = np.zeros(num_rows, dtype=np.int8)
    for k, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        here = order[start : start + size]
        for part in fractions:
            parts[here[: seats[part][k]]] = part
            here = here[seats[part][k] :]
    return parts


def _seats(
    sizes: np.ndarray, ties: np.ndarray, fractions: dict[int, float], requested: dict[int, int]
) -> dict[int, np.ndarray]:
    """Rows of each class for each part: int64 [classes], the floor of the class's share or one more."""
    shares = {part: fraction * sizes for part, fraction in fractions.items()}
    # 1e-9: 0.15 * 20 is 3, whatever the rounding of floats says.
    seats = {part: np.floor(share + 1e-9).astype(np.int64) for part, share in shares.items()}
    for part, share in shares.items():
        unseen = (seats[part] == 0) & (sizes >= 3)
        for k in np.lexsort((ties, seats[part] - share, ~unseen)):
            if seats[part].sum() >= requested[part]:
                break
            # The last row of a class stays in training.
            if sum(int(row[k]) for row in seats.values()) < sizes[k] - 1:
                seats[part][k] += 1
    return seats
