"""A ranking's target: each row is a user's choice of an item; what is learned is what else is in the catalogue.

The columns that describe users and items are ordinary input columns, mostly joined from tables of their own
(`data.tables`). Keys are none of them: a user or an item that is new has no key that means anything, and is known by
what describes it. The user's number and history go before the row as its prompt, so that they are there at prediction.

Nothing of the future is read: a history holds what the user chose before the row's time, and counts are of the training
rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import NonNegativeInt
from polysense.core.logs import get_logger
from polysense.core.schema import Target
from polysense.data.column import ColumnProcessor
from polysense.data.joins.keys import Comparison, key_text
from polysense.data.media.media import short
from polysense.data.prompt import Prompt
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig, TargetProcessor
from polysense.data.values.cells import clean
from polysense.data.values.times import TimeKind, time_of, times_of
from polysense.errors import ColumnError, ConfigError, DecodeError
from polysense.tasks.ranking.catalogue import (
    candidate_table,
    compared_by,
    described_by_item,
    joined_by,
    known_key,
)
from polysense.tasks.ranking.interactions import Interactions
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
        least: Where there are ratings, the least that is a choice; null: each row is. Rows below are items that the
            user knows, and so are not ranked for them; they are in no history, count for no item's popularity, and
            are neither learned nor asked for.
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
        self._extended: list[tuple[Table, Interactions]] = []
        self._sources: dict[str, str] = {}
        self._levels: dict[str, Comparison] = {}
        self._time_kind: TimeKind | None = None

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
        self._levels = {name: compared_by(table, name) for name in (config.user, config.item)}
        sources = [self._sources[name] for name in chosen_columns]
        item_keys = self.keys_of(candidate_table(config, table, sources, self.item_keys))
        rows = self._read_all(table, {key: i for i, key in enumerate(item_keys, 1)})
        if not rows.users:
            raise ColumnError(
                f"{where}: no training row has a user ({config.user!r}) and an item ({config.item!r}) that can be read"
            )
        self._known = known = rows.interactions(item_keys, with_times=config.time is not None)
        if np.count_nonzero(known.item_counts[1:]) < 2:
            raise ColumnError(f"{where}: the choices of the training rows hold fewer than two items to rank")
        if unknown := int((rows.items == 0).sum()):
            self.warnings = (
                f"the items of {unknown:,} training rows are not in the table of items: they are left out",
            )
        _log.info(
            "%s: %d choices of %d users among %d items, %d of which nobody chose", where, known.item_counts.sum(),
            len(known.user_keys), len(item_keys), np.count_nonzero(known.item_counts[1:] == 0),
        )  # fmt: skip
        return RankingTarget(
            name=self.name,
            columns=self.columns,
            num_rows=int(known.item_counts[1:].sum()),
            item_columns=chosen_columns,
            num_items=len(item_keys),
            num_users=len(known.user_keys),
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

    @property
    def item_keys(self) -> Comparison:
        """How items' keys are compared."""
        return self._levels[self.config.item]

    def keys_of(self, catalogue: Table) -> list[str]:
        """The keys of a catalogue's items, in its order."""
        keys = (known_key(cell, self.item_keys) for cell in catalogue.cells(self.config.item, literal=True))
        return [key for key in keys if key is not None]

    def _read_all(self, table: Table, item_numbers: Mapping[str, int]) -> _Rows:
        """The rows that have a user and an item."""
        config = self.config
        rows = _Rows()
        columns = [table.cells(name, literal=True) for name in (config.user, config.item)]
        times = np.full(len(table), np.nan)
        if config.time is not None:
            moments = times_of(table.cells(config.time), self._time_kind)
            self._time_kind, times = moments.kind, moments.values
        ratings = [None] * len(table) if config.rating is None else table.cells(config.rating)
        for user, item, time, rating in zip(*columns, times.tolist(), ratings, strict=True):
            user_key, item_key = (
                known_key(cell, self._levels[name]) for cell, name in ((user, config.user), (item, config.item))
            )
            if user_key is not None and item_key is not None:
                rows.add(user_key, item_numbers.get(item_key, 0), time, chosen=self._is_choice(rating))
        return rows

    def _is_choice(self, rating: object) -> bool:
        """Whether a rating is high enough; one that can't be read is not."""
        if self.config.least is None:
            return True
        try:
            number = number_of(rating)
        except DecodeError:
            return False  # it is listed when its row is read
        return number is not None and number >= self.config.least

    # --- reading -------------------------------------------------------------------------------------------------

    def prepare(self, table: Table) -> None:
        """Reads the rows that came before the table's, once."""
        before = table.before
        if before is None or any(known is before for known, _ in self._extended):
            return
        if all(before.has(name) for name in self.columns):
            later = self._read_all(before, self.known.item_numbers)
            self._extended.append((before, self.known.extended(later.users, *later.arrays)))

    def _known_to(self, table: Table) -> Interactions:
        """What is known when rows of a table are predicted."""
        return next((together for before, together in self._extended if before is table.before), self.known)

    def prompt(self, table: Table, i: int) -> Prompt | None:
        """The user's number (0: unknown), then the items that they know before the row.

        First those that were no choices, as numbers below 0, then choices in order.
        """
        config = self.config
        if not table.has(config.user):
            return None
        key = key_text(table.cell(i, config.user, literal=True), self._levels[config.user])
        if key is None:
            return None
        known = self._known_to(table)
        item, time = None, None
        if table.has(config.item):
            item = key_text(table.cell(i, config.item, literal=True), self.item_keys)
        if config.time is not None and table.has(config.time):
            time = time_of(table.cell(i, config.time), self._time_kind or "numbers")
        user = known.user_numbers.get(key, 0)
        items, chosen = known.before(user, 0 if item is None else known.item_numbers.get(item, 0), time)
        # A user whom training did not hold has no number that a head knows.
        number = user if user <= len(self.known.user_keys) else 0
        return Prompt(
            np.concatenate([[number], -items[~chosen & (items > 0)], items[chosen & (items > 0)]]).astype(np.int32)
        )

    def _value(self, cells: list[object]) -> np.ndarray | None:
        raise AssertionError(f"target {self.name!r} is read with its table")

    def _located(self, cells: list[object], table: Table, i: int, items: Sequence[np.ndarray]) -> np.ndarray | None:
        config = self.config
        item, user = (key_text(cell, self._levels[name]) for cell, name in zip(cells, self.columns[:2], strict=False))
        if item is None:
            return None
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
        users, items = known.users[known.chosen], known.items[known.chosen]
        neighbors, similarities = item_neighbors(users, items, len(known.item_keys))
        return {
            "counts": known.item_counts,
            "recent_counts": known.recent_counts,
            "neighbors": neighbors,
            "similarities": similarities,
            "users": users,
            "items": items,
        }

    def render(self, value: Any) -> str | None:
        """An item's key; None of number 0."""
        number = int(value)
        return self.known.item_keys[number - 1] if number > 0 else None

    # --- saving --------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {"keys": self._levels, "times": self._time_kind}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._levels, self._time_kind = dict(state["keys"]), state["times"]

    def _write(self, folder: Path) -> None:
        self.known.write(folder)

    def _read(self, state: Mapping[str, Any], folder: Path) -> None:
        self._known = Interactions.read(folder)

    def taken_over(self, name: str, config: Any) -> TargetProcessor:
        other = super().taken_over(name, config)
        assert isinstance(other, RankingProcessor)
        other._target = replace(other.target, name=name)
        return other


class _Rows:
    """Rows that have a user and an item."""

    def __init__(self) -> None:
        self.users = list[str]()
        self._items, self._times, self._chosen = list[int](), list[float](), list[bool]()

    def add(self, user: str, item: int, time: float, *, chosen: bool) -> None:
        """One more."""
        self.users.append(user)
        self._items.append(item)
        self._times.append(time)
        self._chosen.append(chosen)

    @property
    def items(self) -> np.ndarray:
        """int64 [rows], their items' numbers."""
        return np.array(self._items, dtype=np.int64)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Items, times and which of them are choices."""
        return self.items, np.array(self._times, dtype=np.float64), np.array(self._chosen, dtype=bool)

    def interactions(self, item_keys: Sequence[str], *, with_times: bool) -> Interactions:
        """They, sorted."""
        user_keys = list(dict.fromkeys(self.users))
        numbers = {key: i for i, key in enumerate(user_keys, 1)}
        items, times, chosen = self.arrays
        codes = np.array([numbers[key] for key in self.users], dtype=np.int64)
        return Interactions.of(user_keys, item_keys, codes, items, times if with_times else None, chosen)


def number_of(cell: object) -> float | None:
    """A rating; None if missing; raises DecodeError."""
    cell = clean(cell)
    if cell is None:
        return None
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise DecodeError(f"found {short(str(cell))}, expected a number") from None
    return number if math.isfinite(number) else None


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=7).digest()
