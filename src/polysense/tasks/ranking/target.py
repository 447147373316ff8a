"""A ranking's target: each row is a user's choice of an item; what is learned is what else is in the catalogue.

The columns that describe users and items are ordinary input columns, mostly joined from tables of their own
(`data.tables`). Keys are none of them: a user or an item that is new has no key that means anything, and is known by
what describes it. The user's number and history go before the row as its prompt, so that they are there at prediction.

Nothing of the future is read: a history holds what the user chose before the row's time, and counts are of the training
rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import NonNegativeInt
from polysense.core.logs import get_logger
from polysense.core.schema import Target
from polysense.data.column import ColumnProcessor
from polysense.data.prompt import Prompt
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig, TargetProcessor
from polysense.data.values.times import time_of
from polysense.errors import ColumnError, ConfigError, DecodeError
from polysense.tasks.ranking.catalogue import candidate_table, described_by_item, joined_by
from polysense.tasks.ranking.interactions import Interactions
from polysense.tasks.ranking.keys import key_of, number_of
from polysense.tasks.ranking.neighbors import item_neighbors
from polysense.tasks.ranking.record import RankingTarget

__all__ = ["RankingProcessor", "RankingTargetConfig"]

_log = get_logger("polysense.data.targets")

_UNREAD = 3  # unreadable cells that a message names


@dataclass(frozen=True, kw_only=True)
class RankingTargetConfig(TargetConfig):
    """Which item a user chooses: one row is one choice.

    Attributes:
        user: The column with the user's key.
        item: The column with the item's key. Where a table of items is joined by it, the catalogue is all of that
            table, items that nobody chose among them; else the items of the training rows.
        time: The column that says when: a number, or a date or time. null: a user's other choices are the history,
            whenever they were made.
        rating: A column of ratings; null: each row is a choice.
        least: Where there are ratings, the least that is a choice; rows below are items that the user knows, and none
            that is learned or asked for.
        items: The input columns that describe the item; null takes those that are joined by the item's key, and others
            that hold the same in all training rows of an item.
        history: Items of the history that the head reads, the last ones; 0: none.
        exclude_seen: Whether items that the user has chosen before are left out of the ranking.
    """

    reads_inputs: ClassVar[bool] = True
    task: ClassVar[str] = "ranking"
    type: Literal["ranking"] = "ranking"
    user: str
    item: str
    time: str | None = None
    rating: str | None = None
    least: float | None = None
    items: tuple[str, ...] | None = None
    history: NonNegativeInt = 50
    exclude_seen: bool = True

    def __post_init__(self) -> None:
        names = [name for name in (self.user, self.item, self.time, self.rating) if name is not None]
        if len(set(names)) < len(names):
            raise ValueError(f"user, item, time and rating: expected different columns, found {names}")
        if self.least is not None and self.rating is None:
            raise ValueError("least: is of ratings, and rating is null; name the column of ratings, or leave least out")

    def resolved(self, inputs: Mapping[str, str]) -> RankingTargetConfig:
        """The config; refused where a column of items is no input."""
        if unknown := [name for name in self.items or () if name not in inputs]:
            raise ConfigError(f"items: {unknown[0]!r} is no input column (data.columns: {', '.join(inputs)})")
        return self

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns that a choice is read from."""
        return tuple(each for each in (self.item, self.user, self.time, self.rating) if each is not None)

    def build(self, name: str) -> RankingProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return RankingProcessor(name, self)


class RankingProcessor(TargetProcessor):
    """Reads choices; the value is int64 [2], the item's number, 0 of one that the catalogue lacks, and the user's.

    A user whom training did not hold has a number below 0, a hash of their key.
    """

    config: RankingTargetConfig

    def __init__(self, name: str, config: RankingTargetConfig) -> None:
        super().__init__(name, config)
        self._known: Interactions | None = None
        self._extended: tuple[Table, Interactions] | None = None
        self._sources: dict[str, str] = {}

    @property
    def known(self) -> Interactions:
        """The training rows' choices."""
        assert self._known is not None, f"target {self.name!r} is not fitted"
        return self._known

    # --- fitting -------------------------------------------------------------------------------------------------

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        config, where = self.config, f"{table.name}, target {self.name!r}"
        users_table = joined_by(table, config.user)
        others = [] if users_table is None else [users_table]
        chosen_columns = config.items
        if chosen_columns is None:
            chosen_columns = tuple(described_by_item(config, table, self._sources, others))
        catalogue = candidate_table(config, table, [self._sources[name] for name in chosen_columns])
        item_keys = _keys(catalogue, config.item)
        users, items, times = self._read_all(table, {key: i for i, key in enumerate(item_keys, 1)})
        if not users:
            raise ColumnError(
                f"{where}: no training row has a user ({config.user!r}) and an item ({config.item!r}) that can be read"
            )
        user_keys = list(dict.fromkeys(users))
        numbers = {key: i for i, key in enumerate(user_keys, 1)}
        codes = np.array([numbers[key] for key in users], dtype=np.int64)
        self._known = Interactions.of(user_keys, item_keys, codes, items, times)
        chosen = len(np.unique(items[items > 0]))
        if chosen < 2:
            raise ColumnError(f"{where}: all training rows hold one item; there is nothing to rank")
        if unknown := int((items == 0).sum()):
            self.warnings = (
                f"the items of {unknown:,} training rows are not in the table of items: they are left out",
            )
        known = self._known
        _log.info(
            "%s: %d choices of %d users among %d items, %d of which nobody chose", where, len(items), len(user_keys),
            len(item_keys), len(item_keys) - chosen,
        )  # fmt: skip
        return RankingTarget(
            name=self.name,
            columns=self.columns,
            num_rows=len(items),
            item_columns=chosen_columns,
            num_items=len(item_keys),
            num_users=len(user_keys),
            history=config.history,
            excludes_seen=config.exclude_seen,
            longest=int(np.quantile(known.user_counts[1:], 0.95)) + 1,
        )

    def attach(self, columns: Mapping[str, ColumnProcessor]) -> None:
        self._sources = {name: column.source for name, column in columns.items()}

    @property
    def input_sources(self) -> tuple[str, ...]:
        """The table's columns that the input columns are read from."""
        return tuple(dict.fromkeys(self._sources.values()))

    @property
    def item_sources(self) -> tuple[str, ...]:
        """The table's columns that describe the item."""
        return tuple(self._sources[name] for name in RankingTarget.of(self.target).item_columns)

    def _read_all(
        self, table: Table, item_numbers: Mapping[str, int]
    ) -> tuple[list[str], np.ndarray, np.ndarray | None]:
        """The users' keys, items' numbers and times of the rows that can be read."""
        config = self.config
        users, items, times = list[str](), list[int](), list[float]()
        columns = [table.cells(name, literal=True) for name in (config.user, config.item)]
        moments = table.cells(config.time) if config.time is not None else [None] * len(table)
        for user, item, moment in zip(*columns, moments, strict=True):
            try:
                user_key, item_key, time = key_of(user), key_of(item), time_of(moment)
            except DecodeError:
                continue  # it is listed when its row is read
            if user_key is not None and item_key is not None:
                users.append(user_key)
                items.append(item_numbers.get(item_key, 0))
                times.append(np.nan if time is None else time)
        return (
            users,
            np.array(items, dtype=np.int64),
            None if config.time is None else np.array(times, dtype=np.float64),
        )

    # --- reading -------------------------------------------------------------------------------------------------

    def prepare(self, table: Table) -> None:
        """Reads the rows that came before the table's, once."""
        before = table.before
        if before is None or (self._extended is not None and self._extended[0] is before):
            return
        if not all(before.has(name) for name in self.columns):
            return
        known = self.known
        keys, items, times = self._read_all(before, known.item_numbers)
        user_keys = list(dict.fromkeys([*known.user_keys, *keys]))
        numbers = {key: i for i, key in enumerate(user_keys, 1)}
        codes = np.array([numbers[key] for key in keys], dtype=np.int64)
        together = Interactions.of(
            user_keys,
            known.item_keys,
            np.concatenate([known.users, codes]),
            np.concatenate([known.items, items]),
            None if times is None else np.concatenate([known.times, times]),
        )
        self._extended = before, together

    def prompt(self, table: Table, i: int) -> Prompt | None:
        """The user's number (0: unknown), then the items that they chose before the row, in order."""
        config = self.config
        if not table.has(config.user):
            return None
        key = key_of(table.cell(i, config.user, literal=True))
        if key is None:
            return None
        known = self.known
        if self._extended is not None and table.before is self._extended[0]:
            known = self._extended[1]
        item = key_of(table.cell(i, config.item, literal=True)) if table.has(config.item) else None
        has_time = config.time is not None and table.has(config.time)
        time = time_of(table.cell(i, config.time)) if has_time and config.time is not None else None
        user = known.user_numbers.get(key, 0)
        number = 0 if item is None else known.item_numbers.get(item, 0)
        items = known.before(user, number, time)
        items = items[items > 0]
        # A user whom training did not hold has no number that a head knows.
        number_of_user = user if user <= len(self.known.user_keys) else 0
        return Prompt(np.concatenate([[number_of_user], items]).astype(np.int32))

    def _value(self, cells: list[object]) -> np.ndarray | None:
        raise AssertionError(f"target {self.name!r} is read with its table")

    def _located(self, cells: list[object], table: Table, i: int, items: Sequence[np.ndarray]) -> np.ndarray | None:
        config = self.config
        item = key_of(cells[0])
        if item is None:
            return None
        user = key_of(cells[1])
        if config.rating is not None and config.least is not None and table.has(config.rating):
            rating = number_of(cells[-1])
            if rating is None or rating < config.least:
                return None
        number = self.known.item_numbers.get(item, 0)
        code = -1 - int(table.rows[i]) if user is None else self.known.user_numbers.get(user, 0)
        if code == 0:  # told apart by key alone
            code = -1 - int.from_bytes(_digest(str(user)), "little")
        return np.array([number, code], dtype=np.int64)

    def counted(self) -> Mapping[str, np.ndarray]:
        """What is known of the training rows: who chose what, how often each item was chosen, and neighbors."""
        known = self.known
        neighbors, similarities = item_neighbors(known.users, known.items, len(known.item_keys))
        return {
            "counts": known.item_counts,
            "recent_counts": known.recent_counts,
            "user_counts": known.user_counts,
            "neighbors": neighbors,
            "similarities": similarities,
            "users": known.users,
            "items": known.items,
        }

    def render(self, value: Any) -> str | None:
        """An item's key; None of number 0."""
        number = int(value)
        return self.known.item_keys[number - 1] if number > 0 else None

    # --- saving --------------------------------------------------------------------------------------------------

    def _write(self, folder: Path) -> None:
        self.known.write(folder)

    def _read(self, state: Mapping[str, Any], folder: Path) -> None:
        self._known = Interactions.read(folder)

    def taken_over(self, name: str, config: Any) -> TargetProcessor:
        other = super().taken_over(name, config)
        assert isinstance(other, RankingProcessor)
        other._target = replace(other.target, name=name)
        return other


def _keys(table: Table, column: str) -> list[str]:
    return [key for cell in table.cells(column, literal=True) if (key := key_of(cell)) is not None]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=7).digest()
