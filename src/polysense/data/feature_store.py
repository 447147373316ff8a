"""Feature store: what frozen backbones gave for items, on disk by content, so that it is computed once for all runs.

A shelf holds one network's features, in files that are appended to. `features.bin` has the numbers as the network gave
them; `index.bin` a record of fixed size for each item: its key, a hash of the item as preprocessing made it, so that a
moved file, a renamed column or a shuffled table finds what is there, and a changed picture never does. `cells.jsonl`
says of which items a cell consists, by a hash of the cell's own content and of the preprocessing: who finds a cell
there need not decode it.

Reading is a memory map: no copy, and as much main memory as the system can spare. A process that was killed loses at
most the item that it wrote; a record whose numbers are not those that were written (its checksum says so) counts as not
there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from polysense.core.geometry import Placement
from polysense.core.json import read_json, write_json
from polysense.core.lock import locked
from polysense.core.log_file import appended_lines, appended_records
from polysense.core.logs import get_logger
from polysense.core.stored import StoredItem
from polysense.errors import LockedError

__all__ = ["CellRecord", "FeatureShelf", "FeatureStore", "item_key"]

_log = get_logger("polysense.data.feature_store")

_DATA, _INDEX, _CELLS, _FACTS = "features.bin", "index.bin", "cells.jsonl", "shelf.json"
_FOLDER, _BYTES = "POLYSENSE_CACHE", "POLYSENSE_CACHE_BYTES"
_DEFAULT_BYTES = 20 * 2**30
_SPARED = 0.2  # of the free disk, that is never taken
_KEY_BYTES = 16
_PATIENCE = 60.0  # seconds without a new item after which another writer is not waited for
_VERSION = 2


class CellRecord(NamedTuple):
    """What a shelf knows of a cell.

    Attributes:
        items: The keys of its items, in order.
        placement: Where they lie in the original, see `Sample.placements`.
    """

    items: tuple[bytes, ...]
    placement: Placement | None


def item_key(item: np.ndarray) -> bytes:
    """A hash of an item's values, type and shape."""
    facts = f"{item.dtype.str}{item.shape}".encode()
    return hashlib.blake2b(np.ascontiguousarray(item).tobytes(), digest_size=_KEY_BYTES, person=facts[-16:]).digest()


class FeatureStore:
    """The shelves in a folder, within a bound.

    Args:
        folder: By default $POLYSENSE_CACHE, else the user's cache folder; `features` below it.
        max_bytes: Of all shelves together; by default $POLYSENSE_CACHE_BYTES, else 20 GiB. Shelves that were not used
            for the longest time are removed for a new one.

    Attributes:
        kept: Names of shelves that are not removed for others.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int | None = None) -> None:
        if folder is None:
            given = os.environ.get(_FOLDER)
            caches = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
            folder = Path(given).expanduser() if given else caches / "polysense"
        self.folder = folder / "features"
        self.kept: set[str] = set()
        self.max_bytes = int(os.environ.get(_BYTES, _DEFAULT_BYTES)) if max_bytes is None else max_bytes

    def has(self, name: str) -> bool:
        """Whether there is a shelf of that name."""
        return (self.folder / name / _FACTS).is_file()

    def reading(self, name: str, widths: Sequence[int]) -> FeatureShelf:
        """A shelf as it is at this moment; arguments as in `writing`."""
        return FeatureShelf(self.folder / name, widths)

    @contextlib.contextmanager
    def writing(self, name: str, widths: Sequence[int]) -> Iterator[FeatureShelf]:
        """A shelf to add to. It can be read when the block has ended, for as long as it is held.

        Where another process writes to it at this moment, it is waited for: what it computes need not be computed here.
        If it adds nothing for a minute, a private shelf takes the place, which ends with this process.

        Args:
            name: Of the network: whatever changes its features must change it.
            widths: Of its layers.

        Raises:
            OSError: The folder can't be made or written to.
        """
        folder = self.folder / name
        with contextlib.ExitStack() as stack:
            if self._locks(folder, stack):
                shelf = FeatureShelf(folder, widths, clean=True)
            else:
                shelf = FeatureShelf.private(widths)
                _log.info("%s is being written to by another process: features are kept for this run alone", folder)
            with shelf.appending():
                yield shelf

    def _locks(self, folder: Path, stack: contextlib.ExitStack) -> bool:
        size, since, has_said = -1, time.monotonic(), False
        while True:
            try:
                stack.enter_context(locked(folder))
                return True
            except LockedError:
                index = folder / _INDEX
                now = index.stat().st_size if index.exists() else 0
                if now != size:
                    size, since = now, time.monotonic()
                if time.monotonic() - since >= _PATIENCE:
                    return False
                if not has_said:
                    has_said = True
                    _log.info("waits for another process that computes the same features (%s)", folder)
                time.sleep(0.5)

    def make_room(self, name: str, num_bytes: int) -> bool:
        """Removes other shelves, those that were not used for the longest time first, until so many bytes fit in.

        Args:
            name: The shelf that they are for.
            num_bytes: More than there are.

        Returns:
            Whether they fit in. If not, nothing is removed.
        """
        sizes = {
            each.parent: sum(path.stat().st_size for path in each.parent.iterdir())
            for each in self.folder.glob(f"*/{_FACTS}")
        }
        own = self.folder / name
        above = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        total = sum(sizes.values()) + num_bytes
        spared = (1 - _SPARED) * shutil.disk_usage(above).free
        used = {each: (each / _FACTS).stat().st_mtime for each in sizes if each != own and each.name not in self.kept}
        removable = sum(sizes[folder] for folder in used)
        if total - removable > self.max_bytes or num_bytes > spared + removable:
            return False
        for folder in sorted(used, key=lambda each: used[each]):
            if total <= self.max_bytes and num_bytes <= spared:
                break
            with contextlib.suppress(LockedError, OSError), locked(folder):
                shutil.rmtree(folder)
                total, spared = total - sizes[folder], spared + sizes[folder]
                _log.info("removed %s, the features that were not used for the longest time", folder)
        return total <= self.max_bytes and num_bytes <= spared


class FeatureShelf:
    """One network's features.

    Args:
        folder: Where they lie.
        widths: Of the layers.
        clean: Whether the folder is made where it is not there, and what another version wrote there is removed; for
            whoever has it locked.
    """

    def __init__(self, folder: Path, widths: Sequence[int], *, clean: bool = False) -> None:
        self.folder, self.widths = folder, tuple(widths)
        self._record = np.dtype(
            [("key", f"V{_KEY_BYTES}"), ("offset", "<u8"), ("length", "<i8"), ("crc", "<u4"),
             ("tokens", "<u4", (len(self.widths),))]
        )  # fmt: skip
        self._entries: dict[bytes, np.void] = {}
        self._cells: dict[bytes, CellRecord] = {}
        self._map: np.ndarray | None = None
        self._files: _Files | None = None
        facts = {"version": _VERSION, "widths": list(self.widths)}
        path = folder / _FACTS
        try:
            is_same = read_json(path, dict) == facts
        except (OSError, ValueError):
            is_same = False
        if not is_same and clean:
            folder.mkdir(parents=True, exist_ok=True)
            if any((folder / name).exists() for name in (_DATA, _INDEX, _CELLS, _FACTS)):
                _log.warning("%s: is damaged or of another version; its features are computed again", folder)
            for name in (_DATA, _INDEX, _CELLS):
                (folder / name).unlink(missing_ok=True)
            write_json(path, facts)
        elif not is_same:
            return
        with contextlib.suppress(OSError):  # a folder that may only be read
            os.utime(path)
        self._read_index()
        self._read_cells()

    @property
    def name(self) -> str:
        """Of the network."""
        return self.folder.name

    @classmethod
    def private(cls, widths: Sequence[int]) -> FeatureShelf:
        """One of this process alone, which ends with it."""
        folder = Path(tempfile.mkdtemp(prefix="polysense-features-"))
        shelf = cls(folder, widths, clean=True)
        weakref.finalize(shelf, shutil.rmtree, folder, ignore_errors=True)
        return shelf

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def __getstate__(self) -> dict[str, object]:
        # A worker process opens its own map; the folder stays this process's.
        return {**self.__dict__, "_map": None, "_files": None}

    def cell(self, key: bytes) -> CellRecord | None:
        """What is known of a cell; its items may have been lost."""
        return self._cells.get(key)

    def get(self, key: bytes, *, verify: bool = False) -> StoredItem | None:
        """The features of an item, as views of the file; None where they are not there.

        Args:
            key: Of the item, see `item_key`.
            verify: Whether to compare them with their checksum, and to forget them if they are others.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        tokens = [int(each) for each in entry["tokens"]]
        sizes = [num * width for num, width in zip(tokens, self.widths, strict=True)]
        start = int(entry["offset"]) // 4
        values = self._values(start + sum(sizes))
        part = None if values is None else values[start : start + sum(sizes)]
        if part is None or (verify and zlib.crc32(part.tobytes()) != int(entry["crc"])):
            del self._entries[key]
            return None
        starts = np.cumsum([0, *sizes])
        layers = tuple(
            part[low:high].reshape(num, width)
            for low, high, num, width in zip(starts[:-1], starts[1:], tokens, self.widths, strict=True)
        )
        return StoredItem(layers, int(entry["length"]))

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """Within it, `add` may be called."""
        with (
            appended_records(self.folder / _DATA, 4) as data,
            appended_records(self.folder / _INDEX, self._record.itemsize) as index,
            appended_lines(self.folder / _CELLS) as cells,
        ):
            self._files = _Files(data, index, cells)
            try:
                yield
            finally:
                self._files = None

    def add(self, key: bytes, item: StoredItem) -> None:
        """Keeps an item's features; they can be read at once.

        Raises:
            OSError: They can't be written.
        """
        assert self._files is not None, "add within `appending`"
        data, index, _ = self._files
        values = np.concatenate([np.ascontiguousarray(layer, dtype="<f4").reshape(-1) for layer in item.layers])
        raw = values.tobytes()
        record = np.zeros(1, self._record)[0]
        record["key"], record["offset"], record["length"] = np.void(key), data.seek(0, os.SEEK_END), item.length
        record["crc"], record["tokens"] = zlib.crc32(raw), [len(layer) for layer in item.layers]
        data.write(raw)
        data.flush()  # before the record that speaks of it
        index.write(record.tobytes())
        index.flush()
        self._entries[key] = record

    def add_cell(self, key: bytes, record: CellRecord) -> None:
        """Keeps of which items a cell consists.

        Raises:
            OSError: It can't be written.
        """
        assert self._files is not None, "add_cell within `appending`"
        where = record.placement
        placed = None if where is None else [*where.matrix.ravel().tolist(), *map(int, where.size)]
        text = json.dumps([key.hex(), [item.hex() for item in record.items], placed], separators=(",", ":")).encode()
        self._files.cells.write(b"%08x %b\n" % (zlib.crc32(text), text))
        self._files.cells.flush()
        self._cells[key] = record

    def _read_cells(self) -> None:
        path = self.folder / _CELLS
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            checksum, _, text = line.partition(b" ")
            if checksum == b"%08x" % zlib.crc32(text):
                key, items, placed = json.loads(text)
                placement = None if placed is None else Placement(np.array(placed[:9]).reshape(3, 3), tuple(placed[9:]))
                self._cells[bytes.fromhex(key)] = CellRecord(tuple(map(bytes.fromhex, items)), placement)

    def _read_index(self) -> None:
        path = self.folder / _INDEX
        raw = path.read_bytes() if path.exists() else b""
        records = np.frombuffer(raw[: len(raw) // self._record.itemsize * self._record.itemsize], self._record)
        self._entries = {record["key"].tobytes(): record for record in records}

    def _values(self, end: int) -> np.ndarray | None:
        """The numbers on disk, at least so many; None if there are fewer."""
        if end == 0:
            return np.zeros(0, "<f4")
        if self._map is None or len(self._map) < end:
            try:
                with (self.folder / _DATA).open("rb") as file:
                    size = os.fstat(file.fileno()).st_size // 4
                    if size < end:
                        return None
                    self._map = np.frombuffer(mmap.mmap(file.fileno(), size * 4, access=mmap.ACCESS_READ), "<f4")
            except OSError:  # another process needed the room
                return None
        return self._map


class _Files(NamedTuple):
    """Those of a shelf that is being added to."""

    data: IO[bytes]
    records: IO[bytes]
    cells: IO[bytes]
