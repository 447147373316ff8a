"""How often each training row is drawn in an epoch: once, or so that rare classes come more often.

An epoch has as many draws as there are rows. Of n rows of a class the share of the draws is in proportion to n^power:
power 1 is the table as it is, 0 gives all classes the same share, 1/2 lies between (Kang et al., "Decoupling
Representation and Classifier for Long-Tailed Recognition", ICLR 2020, section 3, equation 1). A row with several labels
is drawn as often as its rarest one asks for (as Gupta et al., "LVIS", CVPR 2019, section 3.3, repeat images).

Draws are systematic (Madow, "On the theory of systematic sampling", 1949): each class has its share of every epoch to
within one draw, and each row its own to within one, where independent draws would leave a rare class out of some
epochs. The order is a pure function of (seed, epoch, position), so it is the same for any number of processes and
micro-batches, and a resumed run goes on exactly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polysense.config.base import Family
from polysense.config.limits import NonNegativeInt
from polysense.core.logs import get_logger
from polysense.core.random import generator, permutation
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import ConfigError, DecodeError

__all__ = [
    "ClassSampler",
    "ClassSamplerConfig",
    "RowClasses",
    "Sampler",
    "SamplerConfig",
    "Shuffle",
    "ShuffleConfig",
    "draw_numbers",
    "row_classes",
]

_log = get_logger("polysense.data.batches.sampling")

_MANY_DRAWS = 100.0
"""Draws of one row in an epoch from which a run is warned: what is learned then are these few rows."""


class Sampler(ABC):
    """Draws an epoch's rows."""

    repeats: bool = False
    """Whether a row may be drawn several times in an epoch."""

    @abstractmethod
    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The rows of an epoch in the order of training; int64 [rows]."""


@dataclass(frozen=True, kw_only=True)
class SamplerConfig(Family, ABC, family="sampler"):
    """How often each row is drawn in an epoch."""

    type: str


@dataclass(frozen=True, kw_only=True)
class ShuffleConfig(SamplerConfig):
    """Each row once, in random order."""

    type: Literal["shuffle"] = "shuffle"


@dataclass(frozen=True, kw_only=True)
class ClassSamplerConfig(SamplerConfig, ABC):
    """Rows of rare classes more often than others.

    Attributes:
        target: The target whose classes count; null takes the only one.
        augment_again: How many times more the cells of a row that an epoch has drawn before go through
            `data.transforms`, so that a row that comes often is varied more. 0 varies it anew each time, and no more.
    """

    target: str | None = None
    augment_again: NonNegativeInt = 0

    @property
    @abstractmethod
    def power(self) -> float:
        """A class of n rows has a share of the draws in proportion to n to this power."""

    def resolved(self, targets: Sequence[str]) -> str:
        """The target whose classes count.

        Args:
            targets: The recipe's.

        Raises:
            ConfigError: It is none of them, or there are several and none is named.
        """
        if self.target is None and len(targets) == 1:
            return targets[0]
        if self.target is None:
            raise ConfigError(
                f"training.sampler: there are several targets ({', '.join(targets)}); say whose classes count by "
                "training.sampler.target"
            )
        if self.target not in targets:
            raise ConfigError(
                f"training.sampler.target: there is no target {self.target!r} (there are: {', '.join(targets)})"
            )
        return self.target


@dataclass(frozen=True, kw_only=True)
class ClassBalancedConfig(ClassSamplerConfig):
    """Every class has the same share of an epoch's draws."""

    type: Literal["class_balanced"] = "class_balanced"

    @property
    def power(self) -> float:
        return 0.0


@dataclass(frozen=True, kw_only=True)
class SquareRootConfig(ClassSamplerConfig):
    """A class's share of an epoch's draws is in proportion to the square root of its rows."""

    type: Literal["square_root"] = "square_root"

    @property
    def power(self) -> float:
        return 0.5


class Shuffle(Sampler):
    """Each row once."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows

    def order(self, seed: int, epoch: int) -> np.ndarray:
        return permutation(self._num_rows, seed, epoch, "order")


@dataclass(frozen=True, eq=False)
class RowClasses:
    """The classes of each row.

    Attributes:
        names: Of the classes.
        ids: int64, the classes of all rows, one row's after another's.
        sizes: int64 [rows], how many each row has.
        known: bool [rows], whether the row's target is there.
    """

    names: Sequence[str]
    ids: np.ndarray
    sizes: np.ndarray
    known: np.ndarray


def row_classes(table: Table, target: TargetProcessor) -> RowClasses:
    """Reads each row's classes; a row whose target is missing or can't be read has none, and is not known.

    Raises:
        ConfigError: The target has no classes.
    """
    target.require_classes()
    ids: list[int] = []
    sizes, known = np.zeros(len(table), dtype=np.int64), np.zeros(len(table), dtype=bool)
    for i in range(len(table)):
        try:
            value = target.transform(table, i)
        except DecodeError:  # it is listed when its row is read
            continue
        if value is not None:
            own = target.classes_of(value)
            ids += own
            sizes[i], known[i] = len(own), True
    return RowClasses(target.class_names, np.array(ids, dtype=np.int64), sizes, known)


class ClassSampler(Sampler):
    """Rows of rare classes more often. Rows whose target is not known are drawn once.

    Args:
        classes: Of the rows.
        power: See the module.

    Attributes:
        expected: float64 [rows], how often each is drawn in an epoch on average.
        group: int64 [rows], the rarest class that it has; one more than there are classes: none; two more: not known.
    """

    repeats = True

    def __init__(self, classes: RowClasses, power: float) -> None:
        num_rows, none = len(classes.sizes), len(classes.names)
        counts = np.bincount(classes.ids, minlength=none)
        owners = np.repeat(np.arange(num_rows), classes.sizes)
        # The rarest class of each row: in the order of (row, rows of the class, class) the first of each row.
        order = np.lexsort((classes.ids, counts[classes.ids], owners))
        first = np.flatnonzero(np.diff(owners[order], prepend=-1))
        group = np.where(classes.known, none, none + 1)
        group[owners[order][first]] = classes.ids[order][first]
        sizes = np.append(counts, (group == none).sum())
        known = group <= none
        weights = np.zeros(num_rows)
        weights[known] = sizes[group[known]].astype(np.float64) ** (power - 1.0)
        expected = np.ones(num_rows)
        if known.any():
            expected[known] = known.sum() * weights[known] / weights.sum()
        self.expected, self.group = expected, group
        self._tell(classes, sizes)

    def _tell(self, classes: RowClasses, sizes: np.ndarray) -> None:
        known = np.flatnonzero(self.group <= len(classes.names))
        if not len(known):
            return
        most, least = (known[index(self.expected[known])] for index in (np.argmax, np.argmin))
        names = [*classes.names, "(none)"]
        text = "an epoch draws each of the %d rows of %r %.3g times, and each of the %d of %r %.3g times"
        words = [
            each
            for row in (most, least)
            for each in (int(sizes[self.group[row]]), names[self.group[row]], float(self.expected[row]))
        ]
        if self.expected[most] > _MANY_DRAWS:
            text += "; so few rows are memorized: take square_root, or merge rare classes"
            _log.warning(text, *words)
        else:
            _log.info(text, *words)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        num_rows, draws = len(self.expected), generator(seed, epoch, "sampler")
        rows = draws.permutation(num_rows)
        rows = rows[np.argsort(self.group[rows], kind="stable")]
        ends = np.cumsum(self.expected[rows])
        # The sum is the number of rows up to rounding, which must leave nobody without a row.
        points = (np.arange(num_rows) + draws.random()) * (ends[-1] / num_rows)
        drawn: np.ndarray = rows[np.minimum(np.searchsorted(ends, points, side="right"), num_rows - 1)]
        return np.asarray(drawn[permutation(num_rows, seed, epoch, "order")])


def draw_numbers(steps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of each row in each step how many times the epoch has drawn it before; int64, as the steps are."""
    rows = np.concatenate(steps) if steps else np.empty(0, dtype=np.int64)
    order = np.argsort(rows, kind="stable")
    starts = np.diff(rows[order], prepend=-1) != 0
    position = np.arange(len(rows))
    numbers = np.empty(len(rows), dtype=np.int64)
    numbers[order] = position - np.maximum.accumulate(np.where(starts, position, 0))
    return np.split(numbers, np.cumsum([len(step) for step in steps])[:-1]) if steps else []
