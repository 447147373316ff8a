"""Prepared store: cells as they were decoded, on disk by content, so that they are decoded once for all runs.

A shelf holds the cells of all columns that are decoded alike, whatever they are called and whichever table they are in:
its name is a hash of all that decides what decoding gives (`data.column_fingerprint`), and a cell's key a
hash of what its files hold. A changed file, another size or another cleaning finds nothing, and is decoded.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polysense.core.geometry import Placement
from polysense.core.json import json_text
from polysense.core.lock import locked
from polysense.core.stored import Cut, DecodedCell
from polysense.data.store.blob import Blob, Buffer
from polysense.data.store.cell_keys import CellKeys, FileDigests
from polysense.data.store.folder import Store, open_shelf
from polysense.data.store.placements import placement_of, plain_placement

__all__ = ["PreparedColumn", "PreparedShelf", "PreparedStore", "packed", "unpacked"]

_DATA, _INDEX = "cells.bin", "index.bin"
_VERSION = 1
_ALIGNMENT = 8  # bytes, of an item
_HEAD = struct.Struct("<I")


class PreparedStore(Store):
    """The shelves of decoded cells; arguments as of `Store`. They were asked for, so features make room for them, and
    they make none for features."""

    kind = "prepared"
    makes_room = ("prepared", "features")

    def reading(self, name: str) -> PreparedShelf:
        """A shelf as it is at this moment."""
        return PreparedShelf(self.folder / name)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[PreparedShelf]:
        """A shelf to add to.

        Raises:
            LockedError: Another process is writing to it.
            OSError: The folder can't be made or written to.
        """
        with locked(self.folder / name):
            shelf = PreparedShelf(self.folder / name, clean=True)
            with shelf.cells.appending():
                yield shelf

    def digests(self) -> FileDigests:
        """What is known of files."""
        return FileDigests(self.root)


class PreparedShelf:
    """Cells that are decoded alike.

    Args:
        folder: Where they lie.
        clean: As in `open_shelf`.

    Attributes:
        cells: By the hash of what they hold, `packed`.
    """

    def __init__(self, folder: Path, *, clean: bool = False) -> None:
        self.folder = folder
        is_there = open_shelf(folder, {"version": _VERSION}, (_DATA, _INDEX), clean=clean)
        place = folder if is_there else folder / "none"
        self.cells = Blob(place / _DATA, place / _INDEX)

    def __len__(self) -> int:
        return len(self.cells)

    def get(self, key: bytes) -> DecodedCell | None:
        """A cell, in memory of its own; None where it is not there, whole."""
        value = self.cells.get(key, verify=True)
        return None if value is None else unpacked(value[0])


@dataclass(frozen=True, eq=False)
class PreparedColumn:
    """One input column's cells, in a shelf.

    Attributes:
        shelf: Of cells that are decoded as this column's are.
        keys: What its cells hold, as hashes.
    """

    shelf: PreparedShelf
    keys: CellKeys

    def read(self, cell: object, root: Path) -> DecodedCell | None:
        """A cell as it was decoded; None where it was not.

        Args:
            cell: As the table has it, not missing.
            root: The folder that relative paths start from.
        """
        key = self.keys.content(cell, root)
        return None if key is None else self.shelf.get(key)


def packed(cell: DecodedCell) -> list[Buffer]:
    """A cell as bytes, in pieces."""
    head = json_text({
        "items": [[item.dtype.str, list(item.shape)] for item in cell.items],
        "placement": plain_placement(cell.placement),
        "cuts": [list(cut) for cut in cell.cuts],
    }).encode()  # fmt: skip
    start = _HEAD.size + len(head)
    parts: list[Buffer] = [_HEAD.pack(len(head)), head, bytes(-start % _ALIGNMENT)]
    for item in cell.items:
        raw = np.ascontiguousarray(item).reshape(-1).view(np.uint8)
        parts += [raw.data, bytes(-raw.nbytes % _ALIGNMENT)]
    return parts


def unpacked(data: np.ndarray) -> DecodedCell:
    """What `packed` was made of, of `data` (uint8), copied."""
    (length,) = _HEAD.unpack_from(data.data)
    end = _HEAD.size + length
    head = _parsed(data[_HEAD.size : end].tobytes())
    position = end + -end % _ALIGNMENT
    items: list[np.ndarray] = []
    for kind, shape in head.items:
        num_bytes = kind.itemsize * _product(shape)
        items.append(data[position : position + num_bytes].view(kind).reshape(shape).copy())
        position += num_bytes + -num_bytes % _ALIGNMENT
    return DecodedCell(tuple(items), head.placement, head.cuts)


class _Head(NamedTuple):
    items: tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]
    placement: Placement | None
    cuts: tuple[Cut, ...]


@lru_cache(maxsize=4096)
def _parsed(text: bytes) -> _Head:
    """A head, which cells of one size have in common; what it holds is shared, and not to be written to."""
    plain = json.loads(text)
    placement = placement_of(plain["placement"])
    if placement is not None:
        placement.matrix.flags.writeable = False
    return _Head(
        tuple((np.dtype(name), tuple(shape)) for name, shape in plain["items"]),
        placement,
        tuple(Cut(limit, is_auto) for limit, is_auto in plain["cuts"]),
    )


def _product(shape: Sequence[int]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
