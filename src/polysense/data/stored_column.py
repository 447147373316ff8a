"""Cells whose features a frozen backbone gave before: found by their content, without decoding them.

A cell's content is what its file holds, or the text itself; where the file lies, and in which row, is no part of it. A
file is hashed once for each time that it was changed. What is in no shelf (a new cell, an unreadable one, a kind of
cell that has no content of its own) is decoded as ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from polysense.core.geometry import Placement
from polysense.core.stored import StoredCell
from polysense.data.column import ColumnProcessor
from polysense.data.feature_store import FeatureShelf
from polysense.data.media.media import MAX_BYTES, locate
from polysense.errors import DecodeError

__all__ = ["StoredColumn"]

_FileKey: TypeAlias = tuple[str, int, int, int]


@dataclass(eq=False)
class StoredColumn:
    """One input column's cells, in a network's shelf.

    Attributes:
        shelf: The network's features.
        preprocessing: Of the column, see `ColumnProcessor.fingerprint`.
        is_media: Whether cells refer to files.
    """

    shelf: FeatureShelf
    preprocessing: bytes
    is_media: bool
    _files: dict[_FileKey, bytes] = field(default_factory=dict)

    @staticmethod
    def of(column: ColumnProcessor, shelf: FeatureShelf) -> StoredColumn:
        """A column whose network has this shelf."""
        return StoredColumn(shelf, column.fingerprint(), column.is_media)

    @property
    def name(self) -> tuple[str, bytes]:
        """The same for two that give the same features."""
        return self.shelf.name, self.preprocessing

    def read(self, cell: object, root: Path) -> tuple[StoredCell | None, Placement | None]:
        """A cell's features and where its items lie; None and None where they are not there.

        Args:
            cell: As the table has it, not missing.
            root: The folder that relative paths start from.
        """
        key = self.key(cell, root)
        return (None, None) if key is None else self.at(key)

    def at(self, key: bytes, *, verify: bool = False) -> tuple[StoredCell | None, Placement | None]:
        """As `read`, of a cell by its `key`; `verify` as in `FeatureShelf.get`."""
        record = self.shelf.cell(key)
        if record is None:
            return None, None
        items = [self.shelf.get(item, verify=verify) for item in record.items]
        there = tuple(item for item in items if item is not None)
        if not there or len(there) < len(items):
            return None, None
        return StoredCell(there, self.shelf.name), record.placement

    def key(self, cell: object, root: Path) -> bytes | None:
        """A hash of a cell's content and of the column's preprocessing; None where it can't be told."""
        content = self._content(cell, root)
        return None if content is None else _hash([self.preprocessing, content])

    def _content(self, cell: object, root: Path) -> bytes | None:
        if isinstance(cell, list):
            parts = [b"" if part is None else self._content(part, root) for part in cell]
            there = [part for part in parts if part is not None]
            return _hash([b"list", *there]) if len(there) == len(parts) else None
        if self.is_media:
            return self._media(cell, root)
        return (
            _hash([type(cell).__name__.encode(), str(cell).encode("utf-8", "surrogatepass")])
            if isinstance(cell, str | int | float)
            else None
        )

    def _media(self, cell: object, root: Path) -> bytes | None:
        try:
            media = locate(cell, root, "media")
            if media.num_bytes > MAX_BYTES:
                return None
            if media.path is None:
                return _hash([media.read()])
            status = media.path.stat()
            file = (str(media.path), status.st_size, status.st_mtime_ns, status.st_ino)
            if file not in self._files:
                self._files[file] = _hash([media.suffix.encode(), media.read()])
            return self._files[file]
        except (DecodeError, OSError):  # whoever decodes it says why
            return None


def _hash(parts: Sequence[bytes]) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.digest()
