"""Rows that were written together: vectors, ids and metadata in files that never change.

Vectors are mapped into memory, so an index larger than memory can be searched, and what is held is up to the system.
Deleting a row sets a bit in a new small file; the row itself goes when segments are merged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from polysense.errors import SearchError
from polysense.search.durable import write_file
from polysense.search.manifest import SegmentEntry

__all__ = ["ROW_ID", "Segment", "write_deleted", "write_segment"]

ROW_ID = "row_id"
"""The ids' column in a segment's table; filters may use it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Segment:
    """A segment as a reader has it.

    Attributes:
        entry: What the manifest says of it.
        vectors: [rows, dim], mapped.
        rows: `row_id` and the metadata, mapped.
        alive: [rows]; None where no row was deleted.
    """

    entry: SegmentEntry
    vectors: Float[np.ndarray, "rows dim"]
    rows: pl.DataFrame
    alive: Bool[np.ndarray, " rows"] | None

    @classmethod
    def open(cls, folder: Path, entry: SegmentEntry, dim: int) -> Segment:
        """Opens a segment's files; their sizes are checked, and the bytes of those that are read whole anyway.

        Raises:
            FileNotFoundError: A file is not there (a writer may have replaced it: read the manifest again).
            SearchError: A file is damaged.
        """
        for file in entry.files:
            file.check_size(folder)
        alive = None
        if entry.deleted is not None:
            entry.deleted.check(folder)
            bits = np.frombuffer((folder / entry.deleted.name).read_bytes(), dtype=np.uint8)
            alive = ~np.unpackbits(bits, count=entry.num_rows).astype(bool)
        try:
            rows = pl.read_ipc(folder / entry.rows.name)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise SearchError(f"{folder / entry.rows.name}: is damaged; restore the index from a copy") from error
        if len(rows) != entry.num_rows or rows.columns[:1] != [ROW_ID]:
            raise SearchError(f"{folder / entry.rows.name}: holds {len(rows)} rows, expected {entry.num_rows}")
        path = folder / entry.vectors.name
        mapped = np.memmap(path, dtype=np.float32, mode="r", shape=(entry.num_rows, dim))
        # A plain array on the same pages: every slice of a memmap costs some microseconds more.
        return cls(entry=entry, vectors=np.asarray(mapped), rows=rows, alive=alive)

    def find(self, ids: pl.Series) -> Int[np.ndarray, " found"]:
        """The positions of those of its rows that are there and have one of these ids."""
        low, high = ids.min(), ids.max()
        # Ids that grow, as they mostly do, are never looked up at all.
        if low is None or not _overlap(self.entry, low, high):
            return np.zeros(0, dtype=np.int64)
        ours = self.rows.lazy().select(ROW_ID).with_row_index("position")
        found = ours.join(ids.to_frame(ROW_ID).lazy(), on=ROW_ID, how="semi").select("position").collect()
        positions = np.sort(found["position"].to_numpy().astype(np.int64))
        return positions if self.alive is None else positions[self.alive[positions]]


def _overlap(entry: SegmentEntry, low: object, high: object) -> bool:
    if isinstance(entry.low, int) and isinstance(entry.high, int):
        return isinstance(low, int) and isinstance(high, int) and low <= entry.high and high >= entry.low
    return isinstance(low, str) and isinstance(high, str) and low <= str(entry.high) and high >= str(entry.low)


def write_segment(
    folder: Path, number: int, vectors: Iterable[Float[np.ndarray, "rows dim"]], rows: pl.DataFrame
) -> SegmentEntry:
    """Writes a segment's files through to the disk (not yet their names: `sync_folder`).

    Args:
        folder: The index's files.
        number: Never used before.
        vectors: All rows, in blocks, so that a segment need not fit into memory.
        rows: `row_id` first, then the metadata; at least one row.
    """
    arrow = rows.rechunk().write_ipc(None, compression="uncompressed")
    low, high = rows[ROW_ID].min(), rows[ROW_ID].max()
    assert isinstance(low, (int, str)), "a segment has at least one row"
    assert isinstance(high, (int, str)), "a segment has at least one row"
    blocks = (np.ascontiguousarray(block, dtype=np.float32) for block in vectors)
    return SegmentEntry(
        num_rows=len(rows),
        vectors=write_file(folder / f"{number:08d}.vectors", blocks),
        rows=write_file(folder / f"{number:08d}.arrow", [arrow.getbuffer()]),
        low=low,
        high=high,
    )


def write_deleted(folder: Path, number: int, segment: Segment, positions: Int[np.ndarray, " deleted"]) -> SegmentEntry:
    """Writes which rows of a segment are deleted, now these too."""
    deleted = np.zeros(segment.entry.num_rows, dtype=bool) if segment.alive is None else ~segment.alive
    deleted[positions] = True
    file = write_file(folder / f"{number:08d}.deleted", [np.packbits(deleted)])
    entry = segment.entry
    return SegmentEntry(
        num_rows=entry.num_rows,
        vectors=entry.vectors,
        rows=entry.rows,
        low=entry.low,
        high=entry.high,
        deleted=file,
        num_deleted=int(deleted.sum()),
    )
