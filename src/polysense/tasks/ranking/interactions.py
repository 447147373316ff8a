"""Interactions: who chose what, in time; what a user's history is read from, and what items are counted by.

An array each of items and times, sorted by user and time, so that a user's part is a slice: a million interactions take
12 MB.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from polysense.core.files import replacing, write_text

__all__ = ["Interactions"]

_KEYS, _ARRAYS = "keys.json", "interactions.npz"
_RECENT = 0.1


@dataclass(frozen=True, eq=False, kw_only=True)
class Interactions:
    """What is known of users' choices.

    Attributes:
        user_keys: Of the users, numbered from 1.
        item_keys: Of the catalogue's items, numbered from 1.
        starts: int64 [users + 2], where each user's interactions begin; user 0 has none.
        items: int32 [interactions], sorted by user and time.
        times: float64 [interactions]; 0 where the table has no times.
        chosen: bool [interactions], which of them are choices; the others (a low rating) are known to the user alone,
            and count for nothing.
        has_times: Whether there are times.
    """

    user_keys: Sequence[str]
    item_keys: Sequence[str]
    starts: np.ndarray
    items: np.ndarray
    times: np.ndarray
    chosen: np.ndarray
    has_times: bool

    @staticmethod
    def of(
        user_keys: Sequence[str],
        item_keys: Sequence[str],
        users: np.ndarray,
        items: np.ndarray,
        times: np.ndarray | None,
        chosen: np.ndarray,
    ) -> Interactions:
        """Sorts interactions.

        Args:
            user_keys, item_keys: As in the class.
            users: int64 [interactions], from 1.
            items: int64 [interactions], from 1.
            times: float64 [interactions]; None where there are none. What has no time is taken to come first.
            chosen: bool [interactions].
        """
        moments = np.zeros(len(users)) if times is None else np.where(np.isnan(times), -np.inf, times)
        order = np.lexsort((moments, users))
        return Interactions(
            user_keys=user_keys,
            item_keys=item_keys,
            starts=np.searchsorted(users[order], np.arange(len(user_keys) + 2)),
            items=items[order].astype(np.int32),
            times=moments[order],
            chosen=chosen[order],
            has_times=times is not None,
        )

    def extended(self, users: Sequence[str], items: np.ndarray, times: np.ndarray, chosen: np.ndarray) -> Interactions:
        """These and later ones; users keep their numbers, and new ones follow.

        Args:
            users: The key of each, not sorted.
            items, times, chosen: As in `of`.
        """
        user_keys = list(dict.fromkeys([*self.user_keys, *users]))
        numbers = {key: i for i, key in enumerate(user_keys, 1)}
        codes = np.array([numbers[key] for key in users], dtype=np.int64)
        return Interactions.of(
            user_keys,
            self.item_keys,
            np.concatenate([self.users, codes]),
            np.concatenate([self.items, items]),
            np.concatenate([self.times, times]) if self.has_times else None,
            np.concatenate([self.chosen, chosen]),
        )

    @cached_property
    def user_numbers(self) -> dict[str, int]:
        """Each user's number by key."""
        return {key: number for number, key in enumerate(self.user_keys, 1)}

    @cached_property
    def item_numbers(self) -> dict[str, int]:
        """Each item's number by key."""
        return {key: number for number, key in enumerate(self.item_keys, 1)}

    @cached_property
    def item_counts(self) -> np.ndarray:
        """int64 [items + 1], how often each was chosen."""
        return np.bincount(self.items[self.chosen], minlength=len(self.item_keys) + 1)

    @cached_property
    def recent_counts(self) -> np.ndarray:
        """int64 [items + 1], likewise in the last tenth of the interactions; all of them where there are no times."""
        if not self.has_times or not len(self.items):
            return self.item_counts
        since = np.quantile(self.times[np.isfinite(self.times)], 1 - _RECENT)
        return np.bincount(self.items[self.chosen & (self.times >= since)], minlength=len(self.item_keys) + 1)

    @cached_property
    def user_counts(self) -> np.ndarray:
        """int64 [users + 1], how often each chose."""
        return np.diff(self.starts)

    @cached_property
    def users(self) -> np.ndarray:
        """int64 [interactions], the user of each."""
        return np.repeat(np.arange(len(self.starts) - 1), self.user_counts)

    def before(self, user: int, item: int, time: float | None) -> tuple[np.ndarray, np.ndarray]:
        """What a user had chosen before a row, in order: strictly earlier, or without times whatever is not its item.

        It depends on what stands in the row and not on which row of a table that is: who chose several items at one
        moment chose none of them before another.

        Args:
            user: The user's number; 0 has chosen nothing.
            item: The row's item; 0: none.
            time: Of the row; None: all interactions are earlier.

        Returns:
            int32 [items] and bool [items], which of them are choices.
        """
        start, end = int(self.starts[user]), int(self.starts[user + 1])
        if self.has_times and time is not None:
            end = start + int(np.searchsorted(self.times[start:end], time, side="left"))
        items, chosen = self.items[start:end], self.chosen[start:end]
        others = items != item if item and not self.has_times else slice(None)
        return items[others], chosen[others]

    def write(self, folder: Path) -> None:
        """Writes it into a folder."""
        write_text(folder / _KEYS, json.dumps({"users": list(self.user_keys), "items": list(self.item_keys)}))
        with replacing(folder / _ARRAYS) as part, part.open("wb") as stream:
            np.savez_compressed(
                stream, starts=self.starts, items=self.items, times=self.times, chosen=self.chosen,
                has_times=np.array(self.has_times),
            )  # fmt: skip

    @staticmethod
    def read(folder: Path) -> Interactions:
        """Reads what `write` wrote; raises ValueError where the files do not fit one another."""
        keys = json.loads((folder / _KEYS).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            own = {name: arrays[name] for name in ("starts", "items", "times", "chosen")}
            has_times = bool(arrays["has_times"])
        if len(own["starts"]) != len(keys["users"]) + 2 or own["items"].max(initial=0) > len(keys["items"]):
            raise ValueError("the saved interactions do not fit their keys")
        return Interactions(user_keys=keys["users"], item_keys=keys["items"], has_times=has_times, **own)
