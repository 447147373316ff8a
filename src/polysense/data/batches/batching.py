"""Which of an epoch's rows make a step: so many rows, or as many as a budget of padded tokens holds.

A batch is padded to its longest row, so rows of unequal length pay for one another. Rows of similar length together
waste little, and how many of them fit into the same memory depends on that length (Vaswani et al., "Attention Is All
You Need", 2017, section 5.1, batch sentence pairs so). Grouping is a compromise with shuffling: within a pool of some
steps' rows, drawn at random in each epoch, rows are sorted by length and cut into steps, and then the steps of all
pools are shuffled. A larger pool wastes less and mixes less.

Everything is a pure function of the shuffled rows, their lengths, the seed and the epoch. How many steps an epoch has
is therefore one too, and differs a little between epochs where a budget decides.

By default the table decides whether rows are grouped: where random batches of some hundred of its rows would be padded
to much more than grouped ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from polysense.config.base import Family
from polysense.config.limits import PositiveInt
from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.data.batches.token_counts import RowLengths

__all__ = ["Batching", "BatchingConfig", "RowBatchingConfig", "TokenBatchingConfig", "wasted_by_chance"]

_WASTE = 1.3
"""Times as many padded tokens from which on rows are grouped unasked."""

_log = get_logger("polysense.data.batches.batching")


class Batching(ABC):
    """Cuts an epoch into steps."""

    @abstractmethod
    def steps(self, order: np.ndarray, seed: int, epoch: int) -> Sequence[np.ndarray]:
        """Each step's rows.

        Args:
            order: The epoch's rows, shuffled; each is in exactly one step, or as often as it stands there.
            seed: Of the order of the steps.
            epoch: From 0.
        """

    @abstractmethod
    def num_steps(self, num_rows: int) -> int | None:
        """Steps of an epoch of so many rows, where that does not depend on which they are; else None."""


@dataclass(frozen=True, kw_only=True)
class BatchingConfig(Family, ABC, family="batching"):
    """How rows are batched."""

    type: str

    @property
    def needs_lengths(self) -> bool:
        """Whether `build` must be told how long rows are."""
        return False

    def settled(self, batch_size: int, lengths: Callable[[], RowLengths]) -> BatchingConfig:
        """The config with all decided that is left to the table.

        Args:
            batch_size: `training.batch_size`.
            lengths: Measures some of the training rows.
        """
        return self

    @abstractmethod
    def build(self, batch_size: int, lengths: RowLengths | None = None) -> Batching:
        """Cuts into steps, by `training.batch_size` and the lengths of the training rows."""


@dataclass(frozen=True, kw_only=True)
class RowBatchingConfig(BatchingConfig):
    """As many rows in each step as batch_size says.

    Attributes:
        group_by_length: Whether a step's rows are of similar length, which saves padding where lengths differ. auto
            groups them where random rows would be padded to 1.3 times as many tokens or more, as measured on up to 500
            of them, unless a loss compares the rows of a step with one another.
        pool: With group_by_length, the number of steps whose rows are sampled together and sorted by length in each
            epoch. More saves more padding and shuffles rows less.
    """

    type: Literal["rows"] = "rows"
    group_by_length: bool | Literal["auto"] = "auto"
    pool: PositiveInt = 50

    @property
    def needs_lengths(self) -> bool:
        return self.group_by_length is True

    def settled(self, batch_size: int, lengths: Callable[[], RowLengths]) -> RowBatchingConfig:
        if self.group_by_length != "auto":
            return self
        waste = wasted_by_chance(lengths(), batch_size, self.pool)
        if waste >= _WASTE:
            _log.info(
                "rows of similar length are batched: random ones would be padded to %.1f times as many tokens; "
                "training.batching.group_by_length=false batches random ones",
                waste,
            )
        return replace(self, group_by_length=waste >= _WASTE)

    def build(self, batch_size: int, lengths: RowLengths | None = None) -> Batching:
        if self.group_by_length is not True:
            return ByRows(batch_size)
        assert lengths is not None, "rows can't be grouped by a length that nobody knows"
        return ByRows(batch_size, lengths, self.pool)


@dataclass(frozen=True, kw_only=True)
class TokenBatchingConfig(BatchingConfig):
    """As many rows of similar length in each step as a budget of tokens holds, padding counted.

    Attributes:
        max_tokens: The budget of a step in padded tokens: its number of rows times its longest row, summed over the
            input columns and the target texts. A text counts its tokens, audio 25 per second, an image 64, any other
            cell 1. A row longer than the budget is a step of its own. auto is the size of batch_size rows of average
            length.
        pool: Number of steps whose rows are sampled together and sorted by length in each epoch. More saves more
            padding and shuffles rows less.
    """

    type: Literal["tokens"] = "tokens"
    max_tokens: PositiveInt | Literal["auto"] = "auto"
    pool: PositiveInt = 50

    @property
    def needs_lengths(self) -> bool:
        return True

    def build(self, batch_size: int, lengths: RowLengths | None = None) -> Batching:
        assert lengths is not None, "without lengths there is nothing to count"
        if self.max_tokens != "auto":
            return ByTokens(self.max_tokens, lengths, self.pool)
        max_tokens = max(1, round(batch_size * float(lengths.total.mean())))
        _log.info("max_tokens: %d rows of average length come to %d tokens", batch_size, max_tokens)
        return ByTokens(max_tokens, lengths, self.pool)


class ByRows(Batching):
    """The same number of rows in each step; one, the last unless rows are grouped, may have fewer."""

    def __init__(self, batch_size: int, lengths: RowLengths | None = None, pool: int = 1) -> None:
        assert batch_size > 0, f"batch_size must be positive, is {batch_size}"
        self._batch_size, self._pool = batch_size, pool
        self._total = None if lengths is None else lengths.total

    def num_steps(self, num_rows: int) -> int:
        return -(-num_rows // self._batch_size)

    def steps(self, order: np.ndarray, seed: int, epoch: int) -> Sequence[np.ndarray]:
        size = self._batch_size
        if self._total is None:
            return [order[start : start + size] for start in range(0, len(order), size)]
        in_pool = size * min(self._pool, -(-self.num_steps(len(order)) // 2))
        results = [
            rows[start : start + size]
            for rows in _sorted_pools(order, self._total, in_pool)
            for start in range(0, len(rows), size)
        ]
        return _shuffled(results, seed, epoch)


class ByTokens(Batching):
    """As many rows as a budget of padded tokens holds."""

    def __init__(self, max_tokens: int, lengths: RowLengths, pool: int) -> None:
        self._max_tokens, self._lengths = max_tokens, lengths
        self._total = lengths.total
        self._in_pool = max(1, round(pool * max_tokens / float(self._total.mean()))) if len(lengths) else 1
        over = np.flatnonzero(self._total > max_tokens)
        if len(over):
            worst = int(np.argmax(self._total))
            _log.warning(
                "%d of %d training rows are longer than max_tokens=%d; each is a step of its own. The longest is row "
                "%d of the training split, of %d tokens",
                len(over), len(lengths), max_tokens, worst, self._total[worst],
            )  # fmt: skip

    def num_steps(self, num_rows: int) -> None:
        return

    def steps(self, order: np.ndarray, seed: int, epoch: int) -> Sequence[np.ndarray]:
        in_pool = min(self._in_pool, -(-len(order) // 2))
        results = [step for rows in _sorted_pools(order, self._total, in_pool) for step in self._cut(rows)]
        return _shuffled(results, seed, epoch)

    def _cut(self, rows: np.ndarray) -> list[np.ndarray]:
        """Cuts rows, the shortest first, into steps within the budget."""
        lengths, total = self._lengths, self._total[rows]
        items, longest = lengths.items[rows].astype(np.int64), lengths.longest[rows].astype(np.int64)
        result, start = [], 0
        while start < len(rows):
            most = max(1, self._max_tokens // int(total[start]))  # no row after it is shorter
            part = slice(start, start + most)
            per_row = (np.maximum.accumulate(items[part]) * np.maximum.accumulate(longest[part])).sum(axis=1)
            padded = np.maximum(per_row, 1) * np.arange(1, len(per_row) + 1)
            end = start + max(1, int(np.searchsorted(padded, self._max_tokens, side="right")))
            result.append(rows[start:end])
            start = end
        return result


def wasted_by_chance(lengths: RowLengths, batch_size: int, pool: int = 50) -> float:
    """How many times as many padded tokens random steps have as grouped ones.

    Args:
        lengths: Of some rows.
        batch_size: Rows of a step; of few rows at most a quarter of them, or there would be nothing to group.
        pool: As of `RowBatchingConfig`.
    """
    if not len(lengths):
        return 1.0
    size = max(1, min(batch_size, len(lengths) // 4))
    order = permutation(len(lengths), "padding of batches")
    random, grouped = (
        sum(lengths.padded(rows) for rows in batching.steps(order, 0, 0))
        for batching in (ByRows(size), ByRows(size, lengths, pool))
    )
    return random / max(grouped, 1)


def _sorted_pools(order: np.ndarray, total: np.ndarray, size: int) -> list[np.ndarray]:
    """Pools of rows, at least two, each sorted by length; rows of one length stay shuffled."""
    pools = [order[start : start + size] for start in range(0, len(order), size)]
    return [rows[np.argsort(total[rows], kind="stable")] for rows in pools]


def _shuffled(steps: list[np.ndarray], seed: int, epoch: int) -> list[np.ndarray]:
    return [steps[i] for i in permutation(len(steps), seed, epoch, "steps").tolist()]
