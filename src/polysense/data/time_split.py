"""Splits in time: the last rows of each group, or all rows from a date on. What trains lies before what judges.

A split by chance lets a model learn from tomorrow; of what people do next it says too much (Ji et al., "A Critical
Study on Data Leakage in Recommender System Offline Evaluation", ACM TOIS 2023). The rows before a part are known when
it is predicted (`Table.before`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polysense.core.logs import get_logger, remark
from polysense.data.split import RandomSplitConfig, SplitConfig, check_fractions, groups_of
from polysense.data.tables.sources import Table
from polysense.data.values.times import times_of
from polysense.errors import SplitError

__all__ = ["LastOfGroupSplitConfig", "TimeSplitConfig"]

_log = get_logger("polysense.data.split")


@dataclass(frozen=True, kw_only=True)
class LastOfGroupSplitConfig(SplitConfig):
    """The last row of each group is for the test, the one before it for validation (leave-one-out).

    Attributes:
        group: The column that names a row's group, such as a user. Groups of fewer than three rows train.
        time: The column that says when; of rows at one time the last of the table is the last.
    """

    in_time = True

    type: Literal["last_of_group"] = "last_of_group"
    group: str
    time: str

    @property
    def resampled(self) -> str | None:
        return self.group

    def assign(self, table: Table, labels: Sequence[object] | None, seed: int) -> np.ndarray:
        groups, times = groups_of(table, self.group), _numbers(table, self.time)
        parts = np.where(np.isnan(times), -1, 0).astype(np.int8)
        order = np.lexsort((np.arange(len(table)), times, groups))
        order = order[parts[order] == 0]
        from_end = _from_end(groups[order])
        sizes = np.bincount(groups[order], minlength=int(groups.max(initial=0)) + 1)[groups[order]]
        parts[order[(from_end == 0) & (sizes >= 3)]] = 2
        parts[order[(from_end == 1) & (sizes >= 3)]] = 1
        return parts


@dataclass(frozen=True, kw_only=True)
class TimeSplitConfig(SplitConfig):
    """The rows from a date on are for the test, those shortly before it for validation; one date for all.

    Attributes:
        time: The column that says when.
        validation: Share of the rows that choose the best checkpoint, those before the test; 0 for none.
        test: Share of the rows that are tested on, the last ones; rows at one time stay together.
        group: A column, such as a user, whose rows intervals count as one; null: each row is on its own.
    """

    in_time = True

    type: Literal["time"] = "time"
    time: str
    validation: float = 0.1
    test: float = 0.1
    group: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fractions(self.validation, self.test)

    @property
    def resampled(self) -> str | None:
        return self.group

    def within(self, parts: np.ndarray) -> RandomSplitConfig:
        raise SplitError("evaluation.folds: a split in time has no folds: each would learn from what came after it")

    def assign(self, table: Table, labels: Sequence[object] | None, seed: int) -> np.ndarray:
        times = _numbers(table, self.time)
        known = np.sort(times[~np.isnan(times)])
        parts = np.where(np.isnan(times), -1, 0).astype(np.int8)
        for part, share in ((1, self.validation + self.test), (2, self.test)):
            if share and len(known):
                since = known[min(round((1 - share) * len(known)), len(known) - 1)]
                parts[times >= since] = part
        if not self.validation:
            parts[parts == 1] = 0
        if not (parts == 0).any():
            raise SplitError(
                f"{table.name}, column {self.time!r}: all {len(known):,} rows with a time are at one or two times; no "
                "row is before the others to be trained on"
            )
        return parts


def _numbers(table: Table, column: str) -> np.ndarray:
    """Times as float64 [rows], NaN where there is none that can be read, which is said."""
    table.require(column, "time column")
    moments = times_of(table.cells(column))
    unread = [f"row {int(table.rows[position])}: {why}" for position, why in moments.unread]
    if without := int(np.isnan(moments.values).sum()):
        remark(_log, "%s: %d rows without a time (%r) are in no split", table.name, without, column)
    if unread:
        remark(_log, "%s: %d times (%r) can't be read, the first in %s", table.name, len(unread), column, unread[0])
    if without == len(table):
        first = f": {unread[0]}" if unread else ""
        raise SplitError(f"{table.name}, column {column!r}: no cell is a time{first}; name another column")
    return moments.values


def _from_end(groups: np.ndarray) -> np.ndarray:
    """How many rows of its group come after each, of sorted groups."""
    return np.searchsorted(groups, groups, side="right") - 1 - np.arange(len(groups))
