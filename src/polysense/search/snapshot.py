"""An index as it was at one moment: what a reader has, and what a writer starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int

from polysense.errors import SearchError
from polysense.search.filters import Filter
from polysense.search.manifest import MANIFEST, Manifest, SegmentEntry
from polysense.search.segment import ROW_ID, Segment

__all__ = ["FILES", "Snapshot", "check_free"]

FILES = "files"
"""The folder of segments and graphs in an index's folder."""

_TRIES = 20


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A manifest and its opened segments. A position counts through the segments' rows, deleted ones among them.

    Attributes:
        manifest: What there is.
        segments: Opened, in the manifest's order.
        starts: [segments + 1], each segment's first position.
        schema: The metadata's columns, with `row_id`.
    """

    manifest: Manifest
    segments: tuple[Segment, ...]
    starts: Int[np.ndarray, " borders"]
    schema: Mapping[str, Any]

    @classmethod
    def newest(cls, folder: Path, known: Mapping[SegmentEntry, Segment] | None = None) -> Snapshot:
        """Opens what the folder's manifest names now.

        Raises:
            SearchError: There is no index, or a file of it is damaged or gone.
        """
        for _ in range(_TRIES):
            manifest = Manifest.read(folder)
            try:
                return cls.of(folder, manifest, known or {})
            except FileNotFoundError as error:
                # A writer merged segments between our two reads; or the file is really gone.
                missing = error
                if Manifest.read(folder).version == manifest.version:
                    break
        raise SearchError(f"{folder}: is damaged: {missing.filename} is not there; restore the index from a copy")

    @classmethod
    def of(cls, folder: Path, manifest: Manifest, known: Mapping[SegmentEntry, Segment]) -> Snapshot:
        """Opens what a manifest names; segments that are known are not opened again."""
        segments = tuple(
            known.get(entry) or Segment.open(folder / FILES, entry, manifest.dim) for entry in manifest.segments
        )
        if manifest.graph is not None:
            for file in (manifest.graph.file, manifest.graph.order):
                file.check_size(folder / FILES)
        starts = np.cumsum([0, *(len(segment.rows) for segment in segments)])
        frames = [segment.rows.clear() for segment in segments]
        kind = pl.String if manifest.id_type == "str" else pl.Int64
        schema = pl.concat(frames, how="diagonal_relaxed").schema if frames else pl.Schema({ROW_ID: kind})
        return cls(manifest, segments, starts, schema)

    @property
    def known(self) -> dict[SegmentEntry, Segment]:
        """The opened segments by their entries."""
        return {segment.entry: segment for segment in self.segments}

    def aligned(self, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns of a segment's rows, in the types that the whole index has; null where they are not there."""
        return rows.with_columns(  # with, for constants alone would be one row
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(self.schema[name]).alias(name)
            for name in columns
        ).select(columns)

    def wanted(self, condition: Filter | None) -> list[Bool[np.ndarray, " _"] | None]:
        """Per segment, which rows are there and meet a condition; None: all."""
        found: list[Bool[np.ndarray, " _"] | None] = []
        for segment in self.segments:
            if condition is None:
                found.append(segment.alive)
                continue
            met = condition.met(self.aligned(segment.rows, condition.columns) if condition.columns else segment.rows)
            found.append(met if segment.alive is None else met & segment.alive)
        return found

    def vectors(self, positions: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "n dim"]:
        """The vectors at some positions."""
        found = np.empty((len(positions), self.manifest.dim), dtype=np.float32)
        for where, segment, rows in self._by_segment(positions):
            found[where] = segment.vectors[rows]
        return found

    def rows(self, positions: Int[np.ndarray, " n"], columns: Sequence[str]) -> pl.DataFrame:
        """Some columns at some positions, in their order."""
        if not columns:
            return pl.DataFrame()  # a frame without columns has no rows to choose from
        parts, order = [], []
        for where, segment, rows in self._by_segment(positions):
            there = [ROW_ID, *(name for name in columns if name in segment.rows.columns and name != ROW_ID)]
            parts.append(self.aligned(segment.rows.select(there)[rows], columns))
            order.append(where)
        if not parts:
            return pl.DataFrame(schema={name: self.schema[name] for name in columns})
        back = np.argsort(np.concatenate(order), kind="stable")
        return pl.concat(parts)[back]

    def find(self, ids: pl.Series) -> list[tuple[Segment, Int[np.ndarray, " _"]]]:
        """Where rows with these ids are, by segment; segments without one are left out."""
        found = [(segment, segment.find(ids)) for segment in self.segments]
        return [(segment, positions) for segment, positions in found if len(positions)]

    def _by_segment(
        self, positions: Int[np.ndarray, " n"]
    ) -> list[tuple[Int[np.ndarray, " _"], Segment, Int[np.ndarray, " _"]]]:
        owners = np.searchsorted(self.starts, positions, side="right") - 1
        found = []
        for owner in np.unique(owners):
            where = np.flatnonzero(owners == owner)
            found.append((where, self.segments[owner], positions[where] - self.starts[owner]))
        return found


def check_free(folder: Path) -> None:
    """Checks that an index can be made.

    Raises:
        SearchError: There is something already.
    """
    if folder.is_file() or (folder / MANIFEST).exists():
        kind = "a file" if folder.is_file() else "an index"
        raise SearchError(f"{folder}: is {kind} already; name another folder, or add to the index")
    # What a killed `create` leaves is no obstacle.
    if folder.is_dir() and not {path.name for path in folder.iterdir()} <= {FILES, f"{MANIFEST}.part"}:
        raise SearchError(f"{folder}: is not empty; name a new folder")
