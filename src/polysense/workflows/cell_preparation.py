"""Prepare a table: each of its media cells is decoded once, as training would, and kept on disk for all runs.

What training makes of a cell up to its augmentation depends on the cell and on the fitted preprocessing alone, so it
can be made before, by as many processes as there are cores or on a cluster, and read from a memory map afterwards: a
training that reads it is the same to the last bit. Processes hash and decode (`cell_reading`), and this one writes;
what it wrote is brought to the disk every few seconds, before the records that speak of it, so that a run that is
killed at any point goes on where it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysense.core.duration import spell_duration
from polysense.core.logs import get_logger
from polysense.core.machine import num_cpus
from polysense.core.num_bytes import spell_bytes
from polysense.core.sample import Unreadable
from polysense.data.column import ColumnProcessor
from polysense.data.column_fingerprint import decoding_fingerprint
from polysense.data.executors.base import Executor
from polysense.data.executors.local import LocalExecutor
from polysense.data.executors.ray_cluster import RayExecutor
from polysense.data.store.cell_keys import CellKeys
from polysense.data.store.prepared import PreparedShelf, PreparedStore
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError
from polysense.workflows.cell_reading import CellReader, Made, read_cells
from polysense.workflows.feature_filling import cell_progress
from polysense.workflows.fitted_data import fit_processor
from polysense.workflows.folds.plan import first_tables
from polysense.workflows.prepare import prepare as read_recipe
from polysense.workflows.prepare import pretrained_override

__all__ = ["PreparedCells", "PreparedCounts", "prepare"]

_log = get_logger("polysense.workflows")

_SECONDS, _BYTES = 5.0, 2**26  # between commits, whichever is reached first
_SECONDS_OF_DIGESTS = 30.0
_ESTIMATED_FROM = 64  # cells, that say how much room all will take
_STEP = 2**28  # bytes, that room is made for at once where there is too little for all
_OVERHEAD = 128  # bytes beside a cell's own, at most
_NUM_LISTED = 5
_FOR_FEATURES = 8  # cells of a column, since no feature vectors are made here


@dataclass(frozen=True, kw_only=True)
class PreparedCounts:
    """What became of one column's cells.

    Attributes:
        column: The input column.
        folder: Where the cells lie.
        num_new: Cells that were decoded and kept.
        num_stored: Cells that were there before, or that hold what another one holds.
        num_missing: Cells that are missing, or with nothing in them.
        num_unreadable: Cells that can't be read.
        num_unknown: Cells that can't be told from others (they hold arrays and no files), or whose file was changed
            meanwhile; training decodes them.
        num_cut: Cells of which something was left out, since they are longer than the column's limit.
        num_bytes: That the new ones take.
    """

    column: str
    folder: Path
    num_new: int
    num_stored: int
    num_missing: int
    num_unreadable: int
    num_unknown: int
    num_cut: int
    num_bytes: int

    def text(self) -> str:
        """In a line."""
        parts = [f"{self.num_new:,} decoded ({spell_bytes(self.num_bytes)})", f"{self.num_stored:,} there before"]
        others = {
            "missing": self.num_missing,
            "unreadable": self.num_unreadable,
            "without a file": self.num_unknown,
            "cut to the column's limit": self.num_cut,
        }
        parts += [f"{number:,} {what}" for what, number in others.items() if number]
        return f"{self.column}: {', '.join(parts)}"


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedCells:
    """What was prepared.

    Attributes:
        table: The table's name.
        num_rows: Of all its parts.
        columns: Of each column whose cells refer to files.
        unreadable: The cells that can't be read, as training lists them.
        folder: The store's.
        seconds: That it took.
    """

    table: str
    num_rows: int
    columns: tuple[PreparedCounts, ...]
    unreadable: tuple[Unreadable, ...]
    folder: Path
    seconds: float

    def text(self) -> str:
        """For a terminal."""
        if not self.columns:
            return f"{self.table}: no input column's cells refer to files; there is nothing to prepare"
        lines = [f"{self.table}: {self.num_rows:,} rows in {spell_duration(self.seconds)}"]
        lines += [f"  {each.text()}" for each in self.columns]
        if self.unreadable:
            lines.append(f"{len(self.unreadable):,} cells can't be read and count as missing:")
            lines += [f"  {cell}" for cell in self.unreadable[:_NUM_LISTED]]
            if len(self.unreadable) > _NUM_LISTED:
                lines.append(f"  and {len(self.unreadable) - _NUM_LISTED:,} more (--json lists all)")
        lines.append(f"Training reads them from {self.folder}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "table": self.table,
            "rows": self.num_rows,
            "seconds": self.seconds,
            "folder": str(self.folder),
            "columns": {
                each.column: {
                    "new": each.num_new,
                    "stored": each.num_stored,
                    "missing": each.num_missing,
                    "unreadable": each.num_unreadable,
                    "unknown": each.num_unknown,
                    "cut": each.num_cut,
                    "bytes": each.num_bytes,
                    "folder": str(each.folder),
                }
                for each in self.columns
            },
            "unreadable": [cell.as_dict() for cell in self.unreadable],
        }


def prepare(
    source: Any,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    overrides: Sequence[str] = (),
    preset: str = "balanced",
    validation: str | Path | None = None,
    test: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    data: Any = None,
    pretrained: str | Path | None = None,
    num_workers: int | None = None,
    on: str = "local",
    ray_address: str | None = None,
    max_bytes: int | None = None,
    progress: bool = True,
) -> PreparedCells:
    """Decodes each media cell of a recipe's tables once, and keeps it for every run that decodes it alike.

    `fit` and what else reads the tables take it from there by themselves. A call that was ended, in whatever way, goes
    on where it was; one that finds everything there does nothing. A file that was changed, and another setting that
    decides what is decoded, such as a size or a cleaning, make new cells, beside those that are there.

    Args:
        source: A recipe's path (.yaml), a table's path, or a table in memory.
        target, task, overrides, preset, validation, test, columns, data, pretrained: As of `fit`, which is to be called
            with the same.
        num_workers: Processes that decode; None: as many as there are cores, of this machine or of the cluster.
        on: Where cells are decoded: "local", on this machine; "ray", on a Ray cluster, whose machines see the files at
            the same paths. The store is this machine's, and holds the same in either case.
        ray_address: The cluster's; None: $RAY_ADDRESS, else a Ray of its own on this machine.
        max_bytes: Of the store, frozen features included; None: $POLYSENSE_CACHE_BYTES, else 20 GiB. What was not used
            for the longest time is removed where that is not enough.
        progress: Whether to show progress.

    Raises:
        UserError: Something that the caller can mend: the recipe, the table, too little room, no Ray.
        PolysenseError: A process died, or the cluster failed; what was decoded is kept.
    """
    started = time.monotonic()
    executor = _executor(on, num_workers, ray_address)
    prepared = read_recipe(
        source,
        target=target,
        task=task,
        overrides=[*pretrained_override(pretrained), *overrides],
        preset=preset,
        validation=validation,
        test=test,
        columns=columns,
        data=data,
    )
    recipe = prepared.recipe
    if recipe.data.store == "off":
        raise ConfigError("data.store is off, so that training would read nothing of what is prepared; set it to auto")
    tables = first_tables(recipe, prepared.table)
    processor, _, _ = fit_processor(recipe, tables, most_for_features=_FOR_FEATURES)
    parts = [processor.prepared(table) for table in tables.values()]
    store = PreparedStore(max_bytes=max_bytes)
    unreadable: list[Unreadable] = []
    counts: list[PreparedCounts] = []
    with executor:
        for name, column in processor.columns.items():
            if column.is_media:
                filling = _Filling(store, name, column, parts)
                counts.append(filling.run(executor, progress=progress))
                unreadable += filling.unreadable
    return PreparedCells(
        table=prepared.table.name,
        num_rows=sum(map(len, parts)),
        columns=tuple(counts),
        unreadable=tuple(sorted(unreadable, key=lambda cell: (cell.source.table, cell.source.row))),
        folder=store.folder,
        seconds=time.monotonic() - started,
    )


def _executor(on: str, num_workers: int | None, ray_address: str | None) -> Executor:
    """Where cells are decoded.

    Raises:
        ConfigError: There is no such place.
        DependencyError: It needs a package that is not installed.
    """
    if on == "ray":
        return RayExecutor(ray_address, num_workers)
    if on != "local":
        raise ConfigError(f"on: found {on!r}, expected local or ray")
    if ray_address is not None:
        raise ConfigError(
            f"found the address of a Ray cluster, {ray_address!r}, and on=local; expected on=ray (--on ray)"
        )
    return LocalExecutor(num_cpus() if num_workers is None else num_workers)


class _Filling:
    """One column's cells on their way to its shelf."""

    def __init__(self, store: PreparedStore, name: str, column: ColumnProcessor, tables: Sequence[Table]) -> None:
        self._store, self._name, self._column, self._tables = store, name, column, tables
        self._shelf_name = decoding_fingerprint(column).hex()
        self._counts: Counter[str] = Counter()
        self._num_bytes = self._room = 0
        self.unreadable: list[Unreadable] = []
        store.kept.add(self._shelf_name)

    def run(self, executor: Executor, *, progress: bool) -> PreparedCounts:
        """Decodes and keeps what is not there.

        Raises:
            LockedError: Another process prepares the same cells.
            ConfigError: There is too little room, or as of `read_cells`.
            PolysenseError: A process died, or the cluster failed.
        """
        store, digests = self._store, self._store.digests()
        new_digests: dict[bytes, bytes] = {}
        with store.writing(self._shelf_name) as shelf:
            keys = CellKeys(is_media=True, digests=digests, large=True)
            reader = CellReader(self._column, self._name, shelf, keys, self._tables)
            written_at = digests_at = time.monotonic()
            uncommitted = 0
            try:
                with cell_progress(f"{self._name}: cells", progress) as show:
                    for done, made in enumerate(read_cells(reader, executor, digests), 1):
                        new_digests.update(made.digests)
                        uncommitted += self._take(shelf, made, len(reader) - done)
                        now = time.monotonic()
                        if uncommitted > _BYTES or (uncommitted and now - written_at > _SECONDS):
                            shelf.cells.commit(durable=True)
                            uncommitted, written_at = 0, now
                        if now - digests_at > _SECONDS_OF_DIGESTS:
                            digests.write(new_digests)
                            new_digests, digests_at = {}, now
                        show(done, len(reader))
            finally:
                shelf.cells.commit(durable=True)
                digests.write(new_digests)
        counts = self._counts
        return PreparedCounts(
            column=self._name,
            folder=shelf.folder,
            num_new=counts["new"],
            num_stored=counts["stored"],
            num_missing=counts["missing"],
            num_unreadable=counts["unreadable"],
            num_unknown=counts["unknown"],
            num_cut=counts["cut"],
            num_bytes=self._num_bytes,
        )

    def _take(self, shelf: PreparedShelf, made: Made, num_left: int) -> int:
        """Keeps a cell; the bytes that were written."""
        if made.unreadable is not None:
            self.unreadable.append(made.unreadable)
        if made.outcome != "new" or made.key in shelf.cells:  # it holds what one before it holds
            self._counts["stored" if made.outcome == "new" else made.outcome] += 1
            return 0
        self._counts["new"] += 1
        self._counts["cut"] += made.is_cut
        size = len(made.data)
        self._require_room(shelf, size + _OVERHEAD, num_left)
        shelf.cells.add(made.key, [made.data], crc=made.crc)
        self._num_bytes += size + _OVERHEAD
        return size

    def _require_room(self, shelf: PreparedShelf, size: int, num_left: int) -> None:
        """Sees to it that a cell fits in, and tells early if those that are left will not.

        Raises:
            ConfigError: There is no room.
        """
        store, num_new = self._store, self._counts["new"]
        left = size * (num_left + 1)
        if self._num_bytes:  # about as many of the rest are new, and as large, as of those before
            seen = sum(self._counts[each] for each in ("new", "stored", "missing", "unreadable", "unknown"))
            left = int(self._num_bytes / seen * num_left) + size
        if num_new == _ESTIMATED_FROM:
            shelf.cells.commit()  # so that it counts
        if num_new == _ESTIMATED_FROM and left > store.room(self._shelf_name):
            self._refuse(left)
        if self._num_bytes + size > self._room:
            shelf.cells.commit()  # so that it counts
            step = max(size, min(left, _STEP))
            if not store.make_room(self._shelf_name, step):
                step = size  # what is left may be less than it seems
                if num_new >= _ESTIMATED_FROM or not store.make_room(self._shelf_name, step):
                    self._refuse(left)
            self._room = self._num_bytes + step

    def _refuse(self, more: int) -> None:
        store = self._store
        raise ConfigError(
            f"column {self._name!r}: its cells would take about {spell_bytes(more)} more, and there is room for "
            f"{spell_bytes(store.room(self._shelf_name))} in {store.root} (bound: {spell_bytes(store.max_bytes)}, and "
            "four fifths of the free disk). Raise the bound (--max-bytes, POLYSENSE_CACHE_BYTES), name a folder on a "
            f"larger disk (POLYSENSE_CACHE), or make cells smaller (data.columns.{self._name}); the "
            f"{self._counts['new'] - 1:,} cells that were decoded are kept"
        )
