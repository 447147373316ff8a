"""Feature store: what frozen backbones gave for items, on disk by content, so that it is computed once for all runs.

A shelf holds one network's features, in two blobs. The first has the numbers as the network gave them, by a hash of the
item as preprocessing made it, so that a moved file, a renamed column or a shuffled table finds what is there, and a
changed picture never does. The second says of which items a cell consists, by a hash of the cell's own content and of
the preprocessing: who finds a cell there need not decode it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from polysense.core.geometry import Placement
from polysense.core.json import json_text
from polysense.core.lock import locked
from polysense.core.logs import get_logger
from polysense.core.stored import StoredItem
from polysense.data.store.blob import KEY_BYTES, Blob
from polysense.data.store.folder import Store, open_shelf
from polysense.data.store.placements import placement_of, plain_placement
from polysense.errors import LockedError

__all__ = ["CellRecord", "FeatureShelf", "FeatureStore", "item_key"]

_log = get_logger("polysense.data.store.features")

_DATA, _INDEX, _CELLS, _CELL_INDEX = "features.bin", "index.bin", "cells.bin", "cell_index.bin"
_PATIENCE = 60.0  # seconds without a new item after which another writer is not waited for
_VERSION = 3


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
    return hashlib.blake2b(np.ascontiguousarray(item).tobytes(), digest_size=KEY_BYTES, person=facts[-16:]).digest()


class FeatureStore(Store):
    """The shelves of frozen networks' features; arguments as of `Store`."""

    kind = "features"
    makes_room = ("features",)

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
        facts = {"version": _VERSION, "widths": list(self.widths)}
        is_there = open_shelf(folder, facts, (_DATA, _INDEX, _CELLS, _CELL_INDEX), clean=clean)
        # What another version wrote is no file of this one.
        place = folder if is_there else folder / "none"
        self._items = Blob(place / _DATA, place / _INDEX, [("length", "<i8"), ("tokens", "<u4", (len(self.widths),))])
        self._cells = Blob(place / _CELLS, place / _CELL_INDEX)

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
        return len(self._items)

    def __contains__(self, key: bytes) -> bool:
        return key in self._items

    def cell(self, key: bytes) -> CellRecord | None:
        """What is known of a cell; its items may have been lost."""
        value = self._cells.get(key, verify=True)
        if value is None:
            return None
        items, placed = json.loads(value[0].tobytes())
        return CellRecord(tuple(map(bytes.fromhex, items)), placement_of(placed))

    def get(self, key: bytes, *, verify: bool = False) -> StoredItem | None:
        """The features of an item, as views of the file; None where they are not there.

        Args:
            key: Of the item, see `item_key`.
            verify: Whether to compare them with their checksum, and to forget them if they are others.
        """
        value = self._items.get(key, verify=verify)
        if value is None:
            return None
        part, record = value[0].view("<f4"), value[1]
        tokens = [int(each) for each in record["tokens"]]
        starts = np.cumsum([0, *(num * width for num, width in zip(tokens, self.widths, strict=True))])
        layers = tuple(
            part[low:high].reshape(num, width)
            for low, high, num, width in zip(starts[:-1], starts[1:], tokens, self.widths, strict=True)
        )
        return StoredItem(layers, int(record["length"]))

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """Within it, `add` may be called."""
        with self._items.appending(), self._cells.appending():
            yield

    def add(self, key: bytes, item: StoredItem) -> None:
        """Keeps an item's features; they can be read at once.

        Raises:
            OSError: They can't be written.
        """
        values = [np.ascontiguousarray(layer, dtype="<f4").reshape(-1).data for layer in item.layers]
        self._items.add(key, values, [item.length, [len(layer) for layer in item.layers]])
        self._items.commit()

    def add_cell(self, key: bytes, record: CellRecord) -> None:
        """Keeps of which items a cell consists.

        Raises:
            OSError: It can't be written.
        """
        text = json_text([[item.hex() for item in record.items], plain_placement(record.placement)])
        self._cells.add(key, [text.encode()])
        self._cells.commit()
