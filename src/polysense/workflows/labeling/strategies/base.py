"""What every strategy shares: rows that are unlabeled, unique and as many as were asked for, whatever the features are.

A strategy is told which rows have no label yet and names some of them. One that needs probabilities has none before
labels differ, and chooses as the start does (`typical`) until then. Rows with the very same features tell the learner
the same, so of those only one is chosen while there are others. Every strategy is a function of the learner, the rows
and the generator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from polysense.config.base import Family, members
from polysense.core.spelling import did_you_mean
from polysense.errors import ConfigError, TableError
from polysense.nn.estimators.base import ScoreKind
from polysense.workflows.labeling.learner import Learner

__all__ = ["POOL", "StrategyConfig", "first_of_copies", "lowest_first", "strategy_named", "thinned"]

POOL = 10_000
"""Rows of which a strategy that compares rows with one another chooses; of more it looks at a random sample."""


@dataclass(frozen=True, kw_only=True)
class StrategyConfig(Family, ABC, family="strategy", homes=("workflows.labeling.strategies.*",)):
    """How the rows to label next are chosen."""

    type: str

    needs_probabilities: ClassVar[bool] = False
    """Whether it reads the learner's probabilities, which there are none of before labels differ."""

    def check_kind(self, kind: ScoreKind) -> None:
        """Raises ConfigError if it can't choose rows for labels of that kind."""
        if self.needs_probabilities and kind == "numbers":
            known = members("strategy").items()
            others = ", ".join(
                name for name, each in known if issubclass(each, StrategyConfig) and not each.needs_probabilities
            )
            raise ConfigError(
                f"the strategy {self.type!r} needs probabilities, and labels that are numbers have none; expected one "
                f"of {others}"
            )

    def choose(
        self, learner: Learner, unlabeled_rows: Sequence[int] | Int[np.ndarray, " rows"], count: int,
        generator: np.random.Generator,
    ) -> Int[np.ndarray, " chosen"]:  # fmt: skip
        """The rows to label next, the most wanted first.

        Args:
            learner: What is known so far.
            unlabeled_rows: That may be chosen, by their numbers.
            count: How many; all, if there are not more.
            generator: Of what is drawn.

        Returns:
            int64, unique, of `unlabeled_rows`.

        Raises:
            ConfigError: The learner's labels have no probabilities, which the strategy needs; or the count is negative.
            TableError: A row does not exist or has a label.
        """
        self.check_kind(learner.kind)
        rows = np.unique(np.asarray(unlabeled_rows, dtype=np.int64))
        if count < 0:
            raise ConfigError(f"count: found {count}, expected at least 0")
        if len(rows) and (rows[0] < 0 or rows[-1] >= len(learner)):
            wrong = rows[0] if rows[0] < 0 else rows[-1]
            raise TableError(f"rows: found {wrong}, expected numbers from 0 to {len(learner) - 1}")
        if (known := rows[learner.is_labeled[rows]]).size:
            raise TableError(f"rows: {known[0]} has a label already; expected rows without one")
        count = min(count, len(rows))
        if not count:
            return rows[:0]
        strategy = self
        if self.needs_probabilities and not learner.can_tell:
            strategy = strategy_named("typical")
        first, later = first_of_copies(learner, generator.permutation(rows))
        chosen = strategy.pick(learner, first, min(count, len(first)), generator) if len(first) else first
        if len(chosen) < count:
            chosen = np.concatenate([chosen, later[: count - len(chosen)]])
        return chosen

    @abstractmethod
    def pick(
        self, learner: Learner, rows: Int[np.ndarray, " rows"], count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, " chosen"]:
        """Some of the rows, the most wanted first.

        Args:
            learner: What is known so far; with probabilities where these are needed.
            rows: Unlabeled, unique, in random order so that ties are broken by chance, no two with the same features.
            count: How many, from 1 to as many as there are.
            generator: Of what is drawn.
        """


def strategy_named(name: str) -> StrategyConfig:
    """The strategy of that name with its defaults.

    Raises:
        ConfigError: There is none.
    """
    known = members("strategy")
    if name not in known:
        raise ConfigError(
            f"no strategy is named {name!r}{did_you_mean(name, known)} Expected one of {', '.join(known)}"
        )
    strategy = known[name](type=name)
    assert isinstance(strategy, StrategyConfig)
    return strategy


def first_of_copies(
    learner: Learner, rows: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " first"], Int[np.ndarray, " later"]]:
    """Of rows in some order those with features that neither a labeled row nor one before has, and the others."""
    copies = learner.features.copies
    own = copies[rows]
    is_first = np.zeros(len(rows), dtype=bool)
    is_first[np.unique(own, return_index=True)[1]] = True
    is_first &= ~np.isin(own, copies[learner.is_labeled])
    return rows[is_first], rows[~is_first]


def lowest_first(values: Float[np.ndarray, " rows"], count: int) -> Int[np.ndarray, " chosen"]:
    """Positions of the lowest values; of equal ones the first."""
    result: np.ndarray = np.argsort(values, kind="stable")[:count]
    return result


def thinned(rows: Int[np.ndarray, " rows"], count: int, pool: int) -> Int[np.ndarray, " fewer"]:
    """The first rows of a random order, as many as a pool has, or as are to be chosen."""
    return rows[: max(pool, count)]
