"""The queue: which row an annotator gets next, and which row is in somebody's hands already.

Some rows are held out: a random sample by a hash of their keys, of which every few turns one is handed out. No strategy
chooses them and no learner sees them, so that a score on them is honest. Of the other rows come those that a learner
suggests, in its order, and else rows in a random order with a fixed seed.

A row that was handed out is leased to a tab for some minutes, so that two tabs or two annotators don't do the same
work. A lease is a courtesy and no lock: a decision counts whoever has the row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Int

from polysense.core.random import permutation, uniforms

__all__ = ["LEASE_SECONDS", "RANDOM_SHARE", "Queue"]

LEASE_SECONDS = 600.0
RANDOM_SHARE = 0.2
"""Of the rows handed out that are held out."""


class Queue:
    """Rows that lack a label.

    Args:
        keys: Of all rows, by which held-out and shared rows are drawn.
        is_open: bool [rows], whether a row lacks a label in the table itself.
        clock: Seconds, rising.
        seed: Of the order and of what is drawn.
        held_out: The share of rows that are held out.
        shared: The share of rows that every annotator gets, so that their agreement is known.
        annotations: How many annotators a row gets otherwise.

    Attributes:
        is_held_out: bool [rows].
    """

    def __init__(
        self,
        keys: Sequence[str],
        is_open: Bool[np.ndarray, " rows"],
        clock: Callable[[], float],
        *,
        seed: int = 0,
        held_out: float = 0.2,
        shared: float = 0.1,
        annotations: int = 1,
    ) -> None:
        num_rows = len(keys)
        digests = b"".join(hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest() for key in keys)
        hashes = np.frombuffer(digests, dtype=np.int64)
        self.is_held_out: np.ndarray = uniforms(1, seed, "held out", hashes)[..., 0] < held_out
        self._is_shared = uniforms(1, seed, "shared", hashes)[..., 0] < shared
        self._order = permutation(num_rows, seed, "order of labeling")
        self._is_open = is_open
        self._clock = clock
        self._annotations = annotations
        self._num_done = np.zeros(num_rows, dtype=np.int32)  # annotators who decided, without those who skipped
        self._closed = np.zeros(num_rows, dtype=bool)  # settled by adjudication
        self._decided: dict[str, np.ndarray] = {}
        self._leased_until = np.full(num_rows, -np.inf)
        self._tabs: list[str] = []
        self._tab_of = np.full(num_rows, -1, dtype=np.int64)
        self._suggested: Int[np.ndarray, " rows"] = np.zeros(0, dtype=np.int64)

    def suggest(self, rows: Int[np.ndarray, " rows"]) -> None:
        """Rows that a strategy would have labeled next, the first one first; until others are suggested."""
        self._suggested = rows

    def note(self, row: int, by: Sequence[tuple[str, bool]], *, is_settled: bool) -> None:
        """Takes in where a row stands.

        Args:
            row: Its number.
            by: Everybody who decided on it, and whether they skipped it.
            is_settled: Whether it was adjudicated.
        """
        for decided in self._decided.values():
            decided[row] = False
        for annotator, _ in by:
            self._of(annotator)[row] = True
        self._num_done[row] = sum(not skipped for _, skipped in by)
        self._closed[row] = is_settled

    def _of(self, annotator: str) -> np.ndarray:
        if annotator not in self._decided:
            self._decided[annotator] = np.zeros(len(self._is_open), dtype=bool)
        return self._decided[annotator]

    def release(self, tab: str) -> None:
        """Gives back what a tab has leased."""
        if tab in self._tabs:
            self._leased_until[self._tab_of == self._tabs.index(tab)] = -np.inf

    def lease(self, row: int, tab: str) -> None:
        """Gives a row to a tab."""
        if tab not in self._tabs:
            self._tabs.append(tab)
        self._tab_of[row] = self._tabs.index(tab)
        self._leased_until[row] = self._clock() + LEASE_SECONDS

    def waiting(self, annotator: str) -> Bool[np.ndarray, " rows"]:
        """Which rows an annotator could get, leased or not."""
        needed = np.where(self._is_shared, max(len(self._decided), self._annotations), self._annotations)
        result: np.ndarray = self._is_open & ~self._closed & ~self._of(annotator) & (self._num_done < needed)
        return result

    def next(self, annotator: str, tab: str, skipped: Callable[[], Sequence[int]] = tuple) -> int | None:
        """The next row, leased to the tab; None where there is none.

        Args:
            annotator: Whose turn it is.
            tab: Of which browser tab; what it had leased is free again.
            skipped: Gives the rows that the annotator left for later, the oldest first; they come when nothing else is
                left.
        """
        self.release(tab)
        is_free = self._leased_until <= self._clock()
        waiting = self.waiting(annotator) & is_free
        row = self._chosen(waiting)
        if row is None:
            row = next((each for each in skipped() if is_free[each] and not self._closed[each]), None)
        if row is not None:
            self.lease(row, tab)
        return row

    def upcoming(self, annotator: str) -> int | None:
        """The row that would come after, so that its files can be made ready; nothing is leased."""
        return self._chosen(self.waiting(annotator) & (self._leased_until <= self._clock()))

    def _chosen(self, waiting: np.ndarray) -> int | None:
        done = (self._num_done > 0) | (self._leased_until > self._clock())
        num_random = int((done & self.is_held_out & self._is_open).sum())
        num_done = int((done & self._is_open).sum())
        held_out, pool = waiting & self.is_held_out, waiting & ~self.is_held_out
        if num_random + 1 <= RANDOM_SHARE * (num_done + 1) and held_out.any():
            return self._first(held_out)
        for row in self._suggested:
            if pool[row]:
                return int(row)
        row = self._first(pool)
        return row if row is not None else self._first(held_out)

    def _first(self, mask: np.ndarray) -> int | None:
        ordered = mask[self._order]
        first = int(ordered.argmax())
        return int(self._order[first]) if ordered[first] else None
