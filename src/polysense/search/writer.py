"""The writer's half: adds, deletes, merges, and the sweep of what no manifest names.

Rows arrive in segments as they were added. Segments of about the same size are merged by eights, so a million single
adds leave some tens of segments, and a row is rewritten once for each power of eight. What a graph covers is not
merged: the graph names rows by position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from polysense.search.durable import WriterLock, sync_folder
from polysense.search.exact import BLOCK
from polysense.search.manifest import GraphEntry, Manifest, SegmentEntry
from polysense.search.segment import ROW_ID, Segment, write_deleted, write_segment
from polysense.search.snapshot import FILES, Snapshot

__all__ = ["Writer"]

# Merging by eights: 8 segments of a size at most, and log8 of the number of rows sizes.
_FAN = 8
# A segment that has half of this is not merged any more; 256 MiB of vectors of 256.
_MOST_ROWS = 262_144


class Writer:
    """Changes an index, one durable step at a time. Holds the index's lock until it is closed.

    Args:
        folder: The index.

    Raises:
        SearchError: There is no index, it is damaged, or somebody else is writing it.
    """

    def __init__(self, folder: Path) -> None:
        self._files = folder / FILES
        self._folder = folder
        Manifest.read(folder)  # before a lock is made in a folder that is no index
        self._lock = WriterLock(folder / "lock")
        try:
            self.snapshot = Snapshot.newest(folder)
            self._number = self.snapshot.manifest.next_file
            self._sweep()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Lets the next writer in."""
        self._lock.release()

    def write(
        self,
        rows: pl.DataFrame,
        vectors: Float32[np.ndarray, "_ dim"],
        replaced: Sequence[tuple[Segment, np.ndarray]] = (),
    ) -> None:
        """Adds rows and deletes those that they replace, in one step; durable when it returns."""
        manifest = self.snapshot.manifest
        entries = self._without(replaced)
        for low in range(0, len(rows), _MOST_ROWS):
            some = slice(low, low + _MOST_ROWS)
            entries.append(write_segment(self._files, self._next(), [vectors[some]], rows[some]))
        kind = "str" if rows.schema[ROW_ID] == pl.String else "int"
        self._commit(segments=tuple(entries), id_type=manifest.id_type or kind)
        self._merge()

    def delete(self, found: Sequence[tuple[Segment, np.ndarray]]) -> None:
        """Deletes rows, in one step; durable when it returns."""
        self._commit(segments=tuple(self._without(found)))
        self._merge()

    def remember(self, info: Mapping[str, Any]) -> None:
        """Replaces what the index remembers for its user."""
        self._commit(info=dict(info))

    def compact(self) -> None:
        """Writes all rows that are there into as few segments as can be; a graph goes, for its positions do."""
        segments = self.snapshot.segments
        if all(segment.alive is None for segment in segments) and len(segments) <= 1:
            return
        self._commit(segments=tuple(self._rewritten(segments)), graph=None)

    def new_graph_paths(self) -> tuple[Path, Path]:
        """Where a graph and its order may be written before they are committed."""
        return self._files / f"{self._next():08d}.graph", self._files / f"{self._next():08d}.order"

    def commit_graph(self, graph: GraphEntry) -> None:
        """Makes a written graph part of the index."""
        self._commit(graph=graph)

    def _without(self, gone: Sequence[tuple[Segment, np.ndarray]]) -> list[SegmentEntry]:
        changed = {
            segment.entry: write_deleted(self._files, self._next(), segment, positions) for segment, positions in gone
        }
        return [changed.get(entry, entry) for entry in self.snapshot.manifest.segments]

    def _next(self) -> int:
        self._number += 1
        return self._number - 1

    def _commit(self, **changes: Any) -> None:
        sync_folder(self._files)
        old = self.snapshot
        manifest = replace(old.manifest, version=old.manifest.version + 1, next_file=self._number, **changes)
        # Opened first: a manifest that could not be opened never becomes the index's.
        snapshot = Snapshot.of(self._folder, manifest, old.known)
        manifest.write(self._folder)
        self.snapshot = snapshot
        self._sweep()

    def _merge(self) -> None:
        """Merges segments while there are eight of a size."""
        while True:
            graph = self.snapshot.manifest.graph
            free = self.snapshot.segments[0 if graph is None else graph.num_segments :]
            sizes: dict[int, list[Segment]] = {}
            for segment in free:
                num_rows = segment.entry.num_rows - segment.entry.num_deleted
                if num_rows <= _MOST_ROWS // 2:
                    sizes.setdefault(_size(num_rows), []).append(segment)
            full = [same for same in sizes.values() if len(same) >= _FAN]
            if not full:
                return
            gone = {id(segment) for segment in full[0]}
            kept = [segment.entry for segment in self.snapshot.segments if id(segment) not in gone]
            self._commit(segments=(*kept, *self._rewritten(full[0])))

    def _rewritten(self, segments: Sequence[Segment]) -> list[SegmentEntry]:
        """New segments with the rows that are there of old ones, read in blocks."""
        positions = np.concatenate(
            [
                start + (np.arange(len(segment.rows)) if segment.alive is None else np.flatnonzero(segment.alive))
                for segment, start in zip(self.snapshot.segments, self.snapshot.starts, strict=False)
                if any(segment is one for one in segments)
            ]
        )
        names = list(dict.fromkeys(name for segment in segments for name in segment.rows.columns))
        entries = []
        for low in range(0, len(positions), _MOST_ROWS):
            some = positions[low : low + _MOST_ROWS]
            rows = self.snapshot.rows(some, names)
            entries.append(write_segment(self._files, self._next(), self._blocks(some), rows))
        return entries

    def _blocks(self, positions: np.ndarray) -> Iterator[Float32[np.ndarray, "rows dim"]]:
        for low in range(0, len(positions), BLOCK):
            yield self.snapshot.vectors(positions[low : low + BLOCK])

    def _sweep(self) -> None:
        """Removes files that the manifest does not name. Readers that have them mapped keep them."""
        named = {file.name for file in self.snapshot.manifest.files}
        for path in self._files.iterdir():
            if path.name not in named:
                path.unlink()


def _size(num_rows: int) -> int:
    size = 0
    while num_rows >= _FAN:
        num_rows, size = num_rows // _FAN, size + 1
    return size
