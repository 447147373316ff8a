"""Blob: values by key, in a file that grows and an index of records of fixed size.

Reading is a memory map of both: no copy, as much main memory as the system can spare, and nothing to parse, so that a
million values take a process 16 bytes each. A value's bytes are written before the record that speaks of them. Whoever
is killed loses at most what was not committed; a record whose bytes are not all there, or are others (its checksum says
so), counts as not there. Arrow files would need the table of all batches at their end, which a killed process never
writes, and are no faster to read at random.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import numpy as np

from polysense.core.files import write_bytes
from polysense.core.log_file import appended_records, synced

__all__ = ["KEY_BYTES", "Blob", "Buffer", "checksum"]

KEY_BYTES = 16
"""Of a key, which is a hash."""

Buffer: TypeAlias = bytes | memoryview

_ALIGNMENT = 64  # bytes; of a value's start, so that arrays of every type can be views
_MOST_ADDED = 2**15  # records that are looked up in a dictionary, before the index is read again


def checksum(parts: Sequence[Buffer]) -> int:
    """CRC-32 of some buffers, one after the other."""
    result = 0
    for part in parts:
        result = zlib.crc32(part, result)
    return result


class _Appended(NamedTuple):
    values: IO[bytes]
    records: IO[bytes]


class Blob:
    """Values by key.

    Args:
        data: The file with the values; may be missing.
        index: The file with the records.
        fields: What a record has beside where its value lies, as fields of a numpy type.
    """

    def __init__(self, data: Path, index: Path, fields: Sequence[tuple[object, ...]] = ()) -> None:
        self._data_path, self._index_path = data, index
        place = [("key", "<u8", (2,)), ("offset", "<u8"), ("num_bytes", "<u8"), ("crc", "<u4")]
        self.record = np.dtype([*place, *fields])
        self._files: _Appended | None = None
        self._pending: list[np.void] = []
        self._map: np.ndarray | None = None
        self._position = self._end = 0
        self._added: dict[bytes, np.void] = {}
        self._forgotten: set[bytes] = set()
        self._read_index()

    def __len__(self) -> int:
        return len(self._order) + sum(self._at(key) is None for key in self._added) - len(self._forgotten)

    def __contains__(self, key: bytes) -> bool:
        return self._find(key) is not None

    def __getstate__(self) -> dict[str, object]:
        # A worker process opens its own maps.
        return {"paths": (self._data_path, self._index_path), "record": self.record}

    def __setstate__(self, state: dict[str, object]) -> None:
        self._data_path, self._index_path = state["paths"]  # type: ignore[misc]
        self.record = state["record"]  # type: ignore[assignment]
        self._files, self._pending = None, []
        self._read_index()

    def get(self, key: bytes, *, verify: bool = False) -> tuple[np.ndarray, np.void] | None:
        """A value, as a view of the file (uint8), and its record; None where it is not there.

        Args:
            key: Of `KEY_BYTES`.
            verify: Whether to compare it with its checksum, and to forget it if it is another.
        """
        record = self._find(key)
        if record is None:
            return None
        if self._pending and key in self._added:
            assert self._files is not None, "what is pending was added within `appending`"
            self._files.values.flush()  # its bytes may not have reached the file
        start = int(record["offset"])
        end = start + int(record["num_bytes"])
        values = self._values(end)
        part = None if values is None else values[start:end]
        if part is None or (verify and zlib.crc32(part.data) != int(record["crc"])):
            self._forgotten.add(key)
            return None
        return part, record

    def keys(self) -> Iterator[bytes]:
        """The keys of the values that are there; whether these are whole is seen when one is read."""
        yield from self._added.keys() - self._forgotten
        for position in self._order:
            key = self._records["key"][position].tobytes()
            if key not in self._added and key not in self._forgotten:
                yield key

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """Within it, `add` may be called, by one process at a time; what was added is committed at its end.

        Raises:
            OSError: The files can't be written.
        """
        self._read_index()
        self._drop_lost()
        size = self.record.itemsize
        with appended_records(self._data_path, 1) as data, appended_records(self._index_path, size) as index:
            data.truncate(self._end)  # what a killed process wrote and did not commit
            self._position = data.seek(0, os.SEEK_END)
            self._files = _Appended(data, index)
            try:
                yield
            finally:  # whatever ended it: what was added is whole
                try:
                    self.commit()
                finally:
                    self._files = None

    def add(self, key: bytes, parts: Sequence[Buffer], facts: Sequence[object] = (), crc: int | None = None) -> None:
        """Adds a value, in the place of one that the key may have; to be committed.

        Args:
            key: Of `KEY_BYTES`.
            parts: The value, in pieces.
            facts: For the record's own fields.
            crc: The value's `checksum`, where it is known.

        Raises:
            OSError: It can't be written.
        """
        assert self._files is not None, "add within `appending`"
        data = self._files.values
        num_bytes = sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in parts)
        gap = -self._position % _ALIGNMENT if num_bytes else 0
        data.write(bytes(gap))
        record = np.zeros(1, self.record)[0]
        record["key"] = np.frombuffer(key, "<u8")
        record["offset"], record["num_bytes"] = self._position + gap, num_bytes
        record["crc"] = checksum(parts) if crc is None else crc
        for name, fact in zip((self.record.names or ())[4:], facts, strict=True):
            record[name] = fact
        for part in parts:
            data.write(part)
        self._position += gap + num_bytes
        self._pending.append(record)
        self._added[key] = record
        self._forgotten.discard(key)

    def commit(self, *, durable: bool = False) -> None:
        """What was added can be read from now on, by other processes too.

        Args:
            durable: Whether it outlives a power failure: values are brought to the disk before their records.
        """
        if not self._pending:
            return
        assert self._files is not None, "commit within `appending`"
        data, index = self._files
        data.flush()  # before the records that speak of it
        if durable:
            synced(data)
        index.write(b"".join(record.tobytes() for record in self._pending))
        index.flush()
        if durable:
            synced(index)
        self._pending = []
        if len(self._added) > _MOST_ADDED:
            forgotten = self._forgotten
            self._read_index()
            self._forgotten = forgotten

    def _find(self, key: bytes) -> np.void | None:
        if key in self._forgotten:
            return None
        added = self._added.get(key)
        if added is not None:
            return added
        position = self._at(key)
        return None if position is None else self._records[position]

    def _at(self, key: bytes) -> int | None:
        """Where the record of a key stands in the index, as it was read."""
        first, second = np.frombuffer(key, "<u8")
        place = int(np.searchsorted(self._prefixes, first))
        while place < len(self._prefixes) and self._prefixes[place] == first:
            position = int(self._order[place])
            if self._records["key"][position, 1] == second:
                return position
            place += 1
        return None

    def _read_index(self) -> None:
        self._records = self._mapped_records()
        self._map, self._added, self._forgotten = None, {}, set()
        ends = self._records["offset"] + self._records["num_bytes"]
        size = self._data_path.stat().st_size if self._data_path.exists() else 0
        whole = np.flatnonzero(ends <= size)
        self._end = int(ends[whole].max(initial=0))
        keys = self._records["key"]
        order = whole[np.lexsort((whole, keys[whole, 1], keys[whole, 0]))]
        # Of several records of one key the last one counts.
        is_last = np.ones(len(order), dtype=bool)
        is_last[:-1] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
        self._order = order[is_last].astype(np.int64)
        self._prefixes = np.ascontiguousarray(keys[self._order, 0])

    def _mapped_records(self) -> np.ndarray:
        try:
            with self._index_path.open("rb") as file:
                num = os.fstat(file.fileno()).st_size // self.record.itemsize
                if num:
                    mapped = mmap.mmap(file.fileno(), num * self.record.itemsize, access=mmap.ACCESS_READ)
                    return np.frombuffer(mapped, self.record)
        except OSError:
            pass
        return np.zeros(0, self.record)

    def _drop_lost(self) -> None:
        """Writes the index without the records whose values are not there: what is added would stand in their place."""
        ends = self._records["offset"] + self._records["num_bytes"]
        lost = ends > self._end
        if lost.any():
            write_bytes(self._index_path, self._records[~lost].tobytes())
            self._read_index()

    def _values(self, end: int) -> np.ndarray | None:
        """The bytes on disk, at least so many; None if there are fewer."""
        if end == 0:
            return np.zeros(0, np.uint8)
        if self._map is None or len(self._map) < end:
            try:
                with self._data_path.open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    if size < end:
                        return None
                    self._map = np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
            except OSError:  # another process needed the room
                return None
        return self._map
