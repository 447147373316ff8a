"""Cells whose features a frozen backbone gave before: found by their content, without decoding them.

What is in no shelf (a new cell, an unreadable one, a kind of cell that has no content of its own) is decoded as ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polysense.core.geometry import Placement
from polysense.core.stored import StoredCell
from polysense.data.column import ColumnProcessor
from polysense.data.column_fingerprint import items_fingerprint
from polysense.data.store.cell_keys import CellKeys, hashed
from polysense.data.store.features import FeatureShelf

__all__ = ["StoredColumn"]


@dataclass(eq=False)
class StoredColumn:
    """One input column's cells, in a network's shelf.

    Attributes:
        shelf: The network's features.
        preprocessing: Of the column, see `items_fingerprint`.
        keys: What cells hold, as hashes.
    """

    shelf: FeatureShelf
    preprocessing: bytes
    keys: CellKeys

    @staticmethod
    def of(column: ColumnProcessor, shelf: FeatureShelf) -> StoredColumn:
        """A column whose network has this shelf."""
        return StoredColumn(shelf, items_fingerprint(column), CellKeys(is_media=column.is_media))

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
        content = self.keys.content(cell, root)
        return None if content is None else hashed([self.preprocessing, content])
