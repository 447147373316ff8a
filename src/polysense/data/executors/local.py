"""Processes of this machine, forked where the system can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from typing import Any

from polysense.data.batches.dataset import ItemSource
from polysense.data.batches.workers import WorkerPool
from polysense.data.executors.base import Executor, lists_of

__all__ = ["LocalExecutor"]


class LocalExecutor(Executor):
    """Reads in processes of this machine, which share its memory and its files.

    Args:
        num_workers: Processes; up to one, and for what is read at once, none is started.
    """

    is_remote = False

    def __init__(self, num_workers: int) -> None:
        self._num_workers = num_workers

    def read(self, source: ItemSource, positions: Sequence[int], at_once: int) -> Iterator[Any]:
        """See the base."""
        lists = [list(each) for each in lists_of(positions, at_once)]
        pool = WorkerPool(source, self._num_workers, list) if self._num_workers > 1 and len(lists) > 1 else None
        with nullcontext() if pool is None else closing(pool):
            for items in map(source.__getitems__, lists) if pool is None else pool.read(iter(lists)):
                yield from items
