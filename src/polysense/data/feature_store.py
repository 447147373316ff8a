"""Feature store: what frozen backbones gave for items, on disk by content, so that it is computed once for all runs.

A shelf holds one network's features: two files, appended to. `features.bin` has the numbers as the network gave them,
`index.bin` a record of fixed size for each item: its key, a hash of the item as preprocessing made it, so that a moved
file, a renamed column or a shuffled table finds what is there, and a changed picture never does. Reading is a memory
map: no copy, and as much main memory as the system can spare. A process that was killed loses at most the item that it
wrote; a record whose numbers are not those that were written (its checksum says so) counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysense.core.json import read_json, write_json
from polysense.core.lock import locked
from polysense.core.logs import get_logger
from polysense.errors import LockedError

__all__ = ["FeatureShelf", "FeatureStore", "StoredItem", "item_key"]

_log = get_logger("polysense.data.feature_store")

_DATA, _INDEX, _FACTS = "features.bin", "index.bin", "shelf.json"
_FOLDER, _BYTES = "POLYSENSE_CACHE", "POLYSENSE_CACHE_BYTES"
_DEFAULT_BYTES = 20 * 2**30
_SPARED = 0.2  # of the free disk, that is never taken
_KEY_BYTES = 16


@dataclass(frozen=True, eq=False)
class StoredItem:
    """A backbone's features of one item.

    Attributes:
        layers: float32 [tokens, width] each, from the input on; only what is valid.
        length: Of the item itself, in its own units (tokens of text, samples; else 1).
    """

    layers: tuple[np.ndarray, ...]
    length: int

    @property
    def num_bytes(self) -> int:
        """What it takes on disk."""
        return sum(layer.nbytes for layer in self.layers)


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
    """

    def __init__(self, folder: Path | None = None, max_bytes: int | None = None) -> None:
        if folder is None:
            given = os.environ.get(_FOLDER)
            caches = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
            folder = Path(given).expanduser() if given else caches / "polysense"
        self.folder = folder / "features"
        self.max_bytes = int(os.environ.get(_BYTES, _DEFAULT_BYTES)) if max_bytes is None else max_bytes

    def has_room(self, num_bytes: int) -> bool:
        """Whether so many more bytes stay within the bound, and leave the disk some room."""
        above = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        return num_bytes <= self.max_bytes and num_bytes <= (1 - _SPARED) * shutil.disk_usage(above).free

    @contextlib.contextmanager
    def writing(self, name: str, widths: Sequence[int], expected_bytes: int) -> Iterator[FeatureShelf]:
        """A shelf to add to. It can be read when the block has ended, for as long as it is held.

        Where another process writes to it at this moment, a private one takes its place, which ends with it.

        Args:
            name: Of the network: whatever changes its features must change it.
            widths: Of its layers.
            expected_bytes: Of what will be added, for which others make room.

        Raises:
            OSError: The folder can't be made or written to.
        """
        folder = self.folder / name
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(folder))
                shelf = FeatureShelf(folder, widths)
                self._make_room(folder, expected_bytes)
            except LockedError:
                shelf = FeatureShelf.private(widths)
                _log.info("%s is being written to by another process: features are kept for this run alone", folder)
            with shelf.appending():
                yield shelf

    def _make_room(self, but: Path, num_bytes: int) -> None:
        sizes = {
            each.parent: sum(path.stat().st_size for path in each.parent.iterdir())
            for each in self.folder.glob(f"*/{_FACTS}")
        }
        total = sum(sizes.values()) + num_bytes
        for folder in sorted(sizes, key=lambda each: (each / _FACTS).stat().st_mtime):
            if total <= self.max_bytes:
                return
            if folder == but:
                continue
            with contextlib.suppress(LockedError, OSError), locked(folder):
                shutil.rmtree(folder)
                total -= sizes[folder]
                _log.info("removed %s, the features that were not used for the longest time", folder)


class FeatureShelf:
    """One network's features.

    Args:
        folder: Where they lie; made where it is not there. What another version or network wrote there is removed.
        widths: Of the layers.
    """

    def __init__(self, folder: Path, widths: Sequence[int]) -> None:
        self.folder, self.widths = folder, tuple(widths)
        self._record = np.dtype(
            [("key", f"V{_KEY_BYTES}"), ("offset", "<u8"), ("length", "<i8"), ("crc", "<u4"),
             ("tokens", "<u4", (len(self.widths),))]
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"version": 1, "widths": list(self.widths)}
        path = folder / _FACTS
        try:
            is_same = read_json(path, dict) == facts
        except (OSError, ValueError):
            is_same = False
        if not is_same:
            for name in (_DATA, _INDEX):
                (folder / name).unlink(missing_ok=True)
            write_json(path, facts)
        os.utime(path)
        self._entries: dict[bytes, np.void] = {}
        self._map: np.ndarray | None = None
        self._files: tuple[Any, Any] | None = None
        self._read_index()

    @classmethod
    def private(cls, widths: Sequence[int]) -> FeatureShelf:
        """One of this process alone, which ends with it."""
        folder = Path(tempfile.mkdtemp(prefix="polysense-features-"))
        shelf = cls(folder, widths)
        weakref.finalize(shelf, shutil.rmtree, folder, ignore_errors=True)
        return shelf

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def __getstate__(self) -> dict[str, Any]:
        # A worker process opens its own map; the folder stays this process's.
        return {**self.__dict__, "_map": None, "_files": None}

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
        if part is None or (verify and zlib.crc32(part) != int(entry["crc"])):
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
        with (self.folder / _DATA).open("ab") as data, (self.folder / _INDEX).open("ab") as index:
            # A process that was killed may have left half a number, or half a record.
            data.truncate(data.tell() // 4 * 4)
            index.truncate(index.tell() // self._record.itemsize * self._record.itemsize)
            self._files = data, index
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
        data, index = self._files
        values = np.concatenate([np.ascontiguousarray(layer, dtype="<f4").reshape(-1) for layer in item.layers])
        record = np.zeros((), self._record)
        record["key"], record["offset"], record["length"] = np.void(key), data.seek(0, os.SEEK_END), item.length
        record["crc"], record["tokens"] = zlib.crc32(values), [len(layer) for layer in item.layers]
        data.write(values.tobytes())
        data.flush()  # before the record that speaks of it
        index.write(record.tobytes())
        index.flush()
        self._entries[key] = record[()]

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
            path = self.folder / _DATA
            size = path.stat().st_size // 4
            if size < end:
                return None
            with path.open("rb") as file:
                self._map = np.frombuffer(mmap.mmap(file.fileno(), size * 4, access=mmap.ACCESS_READ), "<f4")
        return self._map
