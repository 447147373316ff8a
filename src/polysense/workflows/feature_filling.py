"""Filling of a network's shelf: the cells of some tables that are not in it go through the network, a few at a time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from polysense.core.logs import get_logger
from polysense.core.stored import StoredItem
from polysense.data.column import ColumnProcessor
from polysense.data.store.features import CellRecord, FeatureShelf, FeatureStore, item_key
from polysense.data.store.stored_column import StoredColumn
from polysense.data.tables.sources import Table
from polysense.errors import DecodeError
from polysense.nn.backbone import BackboneEncoder

__all__ = ["Filling", "cell_progress", "fill_shelf"]

_log = get_logger("polysense.workflows")

_AT_ONCE = {"cpu": 8}  # items; a process that is killed computes no more than these again
_AT_ONCE_ELSEWHERE = 64
_OVERHEAD = 512  # bytes beside an item's features: gaps, its record and its cell's
_REDRAWS_PER_SECOND = 2
_SECONDS_BETWEEN_LINES = 30.0


def fill_shelf(
    store: FeatureStore,
    name: str,
    encoder: BackboneEncoder,
    processor: ColumnProcessor,
    tables: Sequence[Table],
    *,
    progress: bool,
) -> StoredColumn | None:
    """The column with the features of all cells of some tables; cells that can't be read are left out.

    Args:
        store: Where features lie.
        name: The shelf.
        encoder: Whose network runs.
        processor: Of the column.
        tables: Prepared; one that lacks the column has no cells.
        progress: Whether to show how many cells are done.

    Returns:
        None where there is no room for them.

    Raises:
        OSError: They can't be written.
    """
    with store.writing(name, encoder.widths) as shelf:
        column = StoredColumn.of(processor, shelf)
        filling = _CellFilling(store, column, encoder, processor)
        there = [table for table in tables if table.has(processor.source)]
        with cell_progress(f"{processor.name}: features", progress) as show:
            done, total = 0, sum(map(len, there))
            for table in there:
                for i in range(len(table)):
                    if filling.is_full:
                        return None
                    filling.take(table, i, total - done)
                    done += 1
                    show(done, total)
            filling.run(0)
    filling.tell(f"{filling.num_known} different cells")
    return None if filling.is_full else column


class Filling:
    """Items that go through a network a few at a time, and from there to its shelf, which is being added to.

    Args:
        store: Where the shelf lies.
        shelf: The network's.
        encoder: Whose network runs.
        processor: Of the column.

    Attributes:
        is_full: Whether there was no room for one; nothing is computed from then on.
    """

    def __init__(
        self, store: FeatureStore, shelf: FeatureShelf, encoder: BackboneEncoder, processor: ColumnProcessor
    ) -> None:
        self._store, self._shelf, self._encoder, self._processor = store, shelf, encoder, processor
        self._device = encoder.projection.weight.device
        self._at_once = _AT_ONCE.get(self._device.type, _AT_ONCE_ELSEWHERE)
        self._waiting: dict[bytes, np.ndarray] = {}
        self._start = time.perf_counter()
        self._num_cells = self._num_new = self._num_damaged = self._num_bytes = self._room = 0
        self.is_full = False

    def add(self, items: Sequence[np.ndarray], num_left: int) -> None:
        """Sees to it that the features of a cell's items are there; so many cells may follow."""
        self._num_cells += 1
        new = {key: item for item in items if not self._has(key := item_key(item))}
        self._num_new += bool(new)
        self._waiting.update(new)
        if len(self._waiting) >= self._at_once:
            self.run(num_left)

    def _has(self, item: bytes) -> bool:
        if item not in self._shelf:
            return False
        there = self._shelf.get(item, verify=True) is not None
        self._num_damaged += not there
        return there

    def run(self, num_left: int) -> None:
        """Computes what waits; so many cells may follow."""
        shelf, keys = self._shelf, list(self._waiting)
        while keys and not self.is_full:
            part, keys = keys[: self._at_once], keys[self._at_once :]
            for key, item in zip(part, self._features([self._waiting[key] for key in part]), strict=True):
                num_bytes = item.num_bytes + _OVERHEAD
                if self._num_bytes + num_bytes > self._room:
                    # Of a cell as of those before it; a tenth more, for some are longer.
                    more = num_bytes * (len(keys) + len(part) + num_left)
                    if self._num_bytes:
                        more = int(1.1 * self._num_bytes / max(1, self._num_new) * (num_left + 1)) + num_bytes
                    if not self._store.make_room(shelf.name, more):
                        self._say_full(more)
                        return
                    self._room = self._num_bytes + more
                shelf.add(key, item)
                self._num_bytes += num_bytes
        self._waiting = {}

    def _features(self, items: Sequence[np.ndarray]) -> list[StoredItem]:
        lengths = [len(item) if item.ndim == 1 else 1 for item in items]
        values = np.zeros((len(items), *(np.max([item.shape for item in items], axis=0))), dtype=items[0].dtype)
        for row, item in enumerate(items):
            values[row][tuple(map(slice, item.shape))] = item
        results = self._encoder.item_features(
            torch.from_numpy(values).to(self._device), torch.tensor(lengths, device=self._device)
        )
        layers = [tuple(layer.cpu().numpy() for layer in result.every) for result in results]
        return [StoredItem(each, length) for each, length in zip(layers, lengths, strict=True)]

    def _say_full(self, more: int) -> None:
        self.is_full = True
        _log.warning(
            "column %r: its features would take %.1f GiB more than there is room for in %s (bound: %.1f GiB, set by "
            "POLYSENSE_CACHE_BYTES): they are not stored, and computed whenever they are needed",
            self._processor.name, more / 2**30, self._store.folder, self._store.max_bytes / 2**30,
        )  # fmt: skip

    def tell(self, of_what: str) -> None:
        """Says of what the features are, how many were there and how many are new, and how long that took."""
        if self.is_full or not self._num_cells:
            return
        damaged = f"; {self._num_damaged} damaged items were computed again" if self._num_damaged else ""
        _log.info(
            "column %r: frozen features of %s: %d stored before, %d new (%.0f MiB), in %.1f s%s; in %s",
            self._processor.name, of_what, self._num_cells - self._num_new, self._num_new,
            self._num_bytes / 2**20, time.perf_counter() - self._start, damaged, self._shelf.folder,
        )  # fmt: skip


class _CellFilling(Filling):
    """Of cells as they are, which are found again without decoding them."""

    def __init__(
        self, store: FeatureStore, column: StoredColumn, encoder: BackboneEncoder, processor: ColumnProcessor
    ) -> None:
        super().__init__(store, column.shelf, encoder, processor)
        self._column = column
        self._cells: list[tuple[bytes, CellRecord]] = []
        self._known: set[bytes] = set()

    @property
    def num_known(self) -> int:
        """Different cells so far."""
        return len(self._known)

    def take(self, table: Table, i: int, num_left: int) -> None:
        """Sees to it that the features of a cell are there."""
        source = self._processor.source
        cell = table.cell(i, source)
        key = None if cell is None else self._column.key(cell, table.root_of(source))
        if key is None or key in self._known:
            return
        record = self._shelf.cell(key)
        if record is not None and all(self._has(item) for item in record.items):
            self._known.add(key)
            self._num_cells += 1
            return
        try:
            items, placement = self._processor.placed(cell, table.source(i, source), table.root_of(source))
        except DecodeError:  # it is listed when its row is read
            return
        if not items:
            return
        self._known.add(key)
        self._cells.append((key, CellRecord(tuple(map(item_key, items)), placement)))
        self.add(items, num_left)

    def run(self, num_left: int) -> None:
        super().run(num_left)
        if not self.is_full:
            for key, record in self._cells:
                self._shelf.add_cell(key, record)
            self._cells = []


@contextlib.contextmanager
def cell_progress(what: str, progress: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows how many cells are done: a bar on a terminal, a line now and then elsewhere."""
    if progress and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn(what), BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("cells")
        console = Console(file=sys.stderr)
        with Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=_REDRAWS_PER_SECOND,
            transient=True,
        ) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    updated_at = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal updated_at
        if progress and time.monotonic() - updated_at >= _SECONDS_BETWEEN_LINES:
            updated_at = time.monotonic()
            _log.info("%s of %d of %d cells", what, done, total)

    yield show
