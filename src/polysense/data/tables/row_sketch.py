"""Which rows a model was trained on, in a few kilobytes: enough to tell whether it has seen those that judge another.

Of each row's cells a hash of 64 bits is taken, and of all hashes the smallest are kept, a sample by content (a bottom-k
sketch, Cohen and Kaplan 2007). A row of another table whose hash lies below the largest that is kept was either among
the rows or it was not, so a share of such rows estimates the share of all. Up to 1,024 rows it is exact.

Which cells are the same says their modality: numbers by their value, files by their path, texts in one Unicode form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polysense.core.registry import modality
from polysense.data.tables.sources import Table

__all__ = ["RowSketch"]

_NUM_RETAINED = 1024
_ALL = 2**64


@dataclass(frozen=True, kw_only=True)
class RowSketch:
    """Hashes of the rows of a table.

    Attributes:
        columns: The table's columns that they are made of, and the modality of each.
        below: Every row whose hash is below this is among `hashes`.
        hashes: The smallest.
    """

    columns: Mapping[str, str]
    below: int
    hashes: frozenset[int]

    @staticmethod
    def of(table: Table, columns: Mapping[str, str]) -> RowSketch:
        """Remembers the rows of a table by those of its columns that tell rows apart."""
        result = sorted(set(_hashes(table, columns)))
        below = result[_NUM_RETAINED] if len(result) > _NUM_RETAINED else _ALL
        return RowSketch(columns=dict(columns), below=below, hashes=frozenset(result[:_NUM_RETAINED]))

    def count(self, table: Table, besides: Table) -> tuple[int, int]:
        """How many of a table's rows can be looked up, and how many of these are among those seen.

        Args:
            table: The rows to look up.
            besides: Rows that do not count where they hold just the same, for they are known anyway.
        """
        looked_up = [one for one in _hashes(table, self.columns) if one < self.below]
        seen = [one for one in looked_up if one in self.hashes]
        known = set(_hashes(besides, self.columns)) if seen else set()
        return len(looked_up), sum(one not in known for one in seen)

    def as_json(self) -> dict[str, Any]:
        """As plain values; hashes are hexadecimal."""
        return {
            "columns": dict(self.columns),
            "below": f"{self.below:x}",
            "hashes": "".join(f"{one:016x}" for one in sorted(self.hashes)),
        }

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> RowSketch:
        """What `as_json` gave."""
        text = plain["hashes"]
        return RowSketch(
            columns=dict(plain["columns"]),
            below=int(plain["below"], 16),
            hashes=frozenset(int(text[i : i + 16], 16) for i in range(0, len(text), 16)),
        )


def _hashes(table: Table, columns: Mapping[str, str]) -> list[int]:
    identities = []
    for name, kind in columns.items():
        cells = table.cells(name) if table.has(name) else [None] * len(table)
        identities.append([None if cell is None else modality(kind).identity(cell) for cell in cells])
    return [_hash(row) for row in zip(*identities, strict=True)]


def _hash(identities: Sequence[str | None]) -> int:
    return int.from_bytes(hashlib.blake2b(json.dumps(identities).encode(), digest_size=8).digest())
