"""Frames of many rows that take little memory: their cells lie in files that are mapped, their parts are row numbers.

What a reader or a model makes comes in parts. Up to 16 MiB of them stay in memory, since a file would only cost time;
from then on they are written to Arrow files, uncompressed, so that a cell is read where it lies. The system holds what
was read of them as long as it has memory to spare, and reads it again otherwise. A file loses its name as soon as it is
mapped: nothing is left behind however the process ends, and its blocks are free once the frame is gone.

Where no file can be written (a full disk, a system whose files can't lose their names) the frame stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from polysense.core.files import nameless_file
from polysense.core.logs import get_logger

__all__ = ["MAPPED_BYTES", "FrameRows", "GrowingFrame", "chunks_of", "mapped", "reordered"]

MAPPED_BYTES = 16 << 20
"""Bytes of rows that stay in memory; the first file has about as many."""

_SHARE = 512  # of what is written, that a further file has: so not too many are mapped

_SMALL_PARTS = 256  # which are put together: each part and column takes some hundred bytes beside its cells
_CHUNK = 65_536  # rows

_log = get_logger("polysense.data.tables.mapped_frame")


class GrowingFrame:
    """A frame that is made of parts, one below the other."""

    def __init__(self) -> None:
        self._written: list[pl.DataFrame] = []
        self._waiting: list[pl.DataFrame] = []
        self._small: list[pl.DataFrame] = []
        self._num_waiting = self._num_written = 0
        self._is_written = True

    def add(self, part: pl.DataFrame) -> None:
        """Takes rows that stand below those before. A column of several types gets one that holds them all."""
        self._small.append(part)
        self._num_waiting += _num_bytes(part)
        if len(self._small) >= _SMALL_PARTS:
            self._waiting.append(_joined(self._small, rechunk=True))
            self._small = []
        if self._num_waiting >= max(MAPPED_BYTES, self._num_written // _SHARE):
            self._write()

    def finish(self) -> pl.DataFrame | None:
        """The frame; None where there were no parts."""
        if self._written and self._num_waiting:
            self._write()
        parts = [*self._written, *self._waiting, *self._small]
        return _joined(parts, rechunk=not self._written) if parts else None

    def _write(self) -> None:
        """Moves what waits into a file, where one can be written."""
        frame = _joined([*self._waiting, *self._small], rechunk=True)
        if self._is_written:
            try:
                frame = _in_file(frame, self._num_waiting)
            except (OSError, pl.exceptions.PolarsError) as error:
                self._is_written = False
                _log.info("a large table stays in memory: no file can be written for it: %s", error)
        self._written.append(frame)
        self._num_written += self._num_waiting
        self._waiting, self._small, self._num_waiting = [], [], 0


def _joined(parts: list[pl.DataFrame], *, rechunk: bool) -> pl.DataFrame:
    how: Literal["vertical", "vertical_relaxed"]
    how = "vertical" if all(part.schema == parts[0].schema for part in parts[1:]) else "vertical_relaxed"
    return pl.concat(parts, how=how, rechunk=rechunk)


def mapped(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame; a large one as mapped files."""
    if _num_bytes(frame) < MAPPED_BYTES:
        return frame
    growing = GrowingFrame()
    for rows in chunks_of(len(frame)):
        growing.add(frame[rows])
    result = growing.finish()
    assert result is not None, "there are rows"
    return result


def _num_bytes(frame: pl.DataFrame) -> int:
    return sum(int(series.estimated_size()) for series in frame)


def _in_file(frame: pl.DataFrame, num_bytes: int) -> pl.DataFrame:
    """The frame as a file that is mapped and has no name."""
    with nameless_file(num_bytes) as path:
        read = _written_to(path, frame)
    # A type that Arrow has no name for would come back as another.
    return read if read.schema == frame.schema else frame


def _written_to(part: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as it lies in a file; polars writes it and pyarrow maps it, since polars would read it into memory."""
    import pyarrow as pa

    frame.write_ipc(part, compression="uncompressed")
    with pa.memory_map(str(part)) as file:
        read = pl.from_arrow(pa.ipc.open_file(file).read_all(), rechunk=False)
    assert isinstance(read, pl.DataFrame), f"a table came back as a {type(read).__name__}"
    return read


@dataclass(frozen=True, eq=False)
class FrameRows:
    """Some rows of a frame by their numbers, so that a part of a large table is no copy of its cells.

    Attributes:
        frame: The frame, which may have more rows.
        positions: int64 [rows], which of them these are, in order; None: all.
    """

    frame: pl.DataFrame
    positions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.frame) if self.positions is None else len(self.positions)

    def __reduce__(self) -> tuple[object, ...]:
        return FrameRows, (self.copied(),)  # another process is sent these rows alone

    def value(self, i: int, name: str) -> Any:
        """The cell of a row. Reads without polars' thread pool, so it is safe in a forked process."""
        series = self.frame.get_column(name)
        return series[i] if self.positions is None else series[int(self.positions[i])]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> pl.Series:
        """A column's cells in rows one after the other; a copy, unless these are all rows of the frame."""
        series = self.frame.get_column(name)
        if self.positions is not None:
            return series[self.positions[start:stop]]
        return series if start == 0 and stop is None else series[start:stop]

    def some(self, rows: np.ndarray, name: str) -> pl.Series:
        """A column's cells in some rows, int64 [rows]."""
        return self.frame.get_column(name)[rows if self.positions is None else self.positions[rows]]

    def take(self, rows: np.ndarray) -> FrameRows:
        """Some of the rows, int64 [rows], in that order."""
        return FrameRows(self.frame, rows if self.positions is None else self.positions[rows])

    def copied(self) -> pl.DataFrame:
        """The rows as a frame of their own."""
        return self.frame if self.positions is None else self.frame[self.positions]


def reordered(frame: pl.DataFrame, order: np.ndarray) -> pl.DataFrame:
    """The rows of a frame, at least one, in another order; a large one is mapped too.

    Args:
        frame: The rows.
        order: int64 [rows], which row stands where.
    """
    result = GrowingFrame()
    for rows in chunks_of(len(order)):
        result.add(frame[order[rows]])
    made = result.finish()
    assert made is not None, "there are no rows"
    return made


def chunks_of(num_rows: int, size: int = _CHUNK) -> Iterator[slice]:
    """Rows in order, so many at once."""
    return (slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size))
