"""Cells on their way from files to a store, wherever they are decoded.

Processes of this machine ask the store themselves what is there. A cluster's machines know nothing of it: what is there
is told apart here, by what is known of files without reading them, and only the rest is sent. What they can't read is
looked at here again, since a reason that this machine can't see is of no use to whoever mends the table, and since a
file that only this machine has is none that is damaged.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from polysense.core.sample import Unreadable
from polysense.data.column import ColumnProcessor
from polysense.data.column_fingerprint import decoding_fingerprint
from polysense.data.executors.base import Executor
from polysense.data.media.paths import OnlineFolder, RemoteFolder
from polysense.data.processor import named_file
from polysense.data.store.blob import checksum
from polysense.data.store.cell_keys import CellKeys, FileDigests
from polysense.data.store.prepared import PreparedShelf, packed
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, DecodeError

__all__ = ["CellReader", "Made", "Outcome", "read_cells"]

_AT_ONCE = 8  # cells that a process is given
_MOST_CONTRADICTED = 8  # cells one after the other that another machine can't read and this one can

Outcome: TypeAlias = Literal["missing", "stored", "new", "unreadable", "unknown"]


class Made(NamedTuple):
    """What became of a cell: `packed` and its checksum, where it is new."""

    outcome: Outcome
    key: bytes = b""
    data: bytes = b""
    crc: int = 0
    is_cut: bool = False
    unreadable: Unreadable | None = None
    digests: Mapping[bytes, bytes] = {}


@dataclass(eq=False)
class CellReader:
    """Cells of some tables, decoded unless they are stored; what processes read.

    Attributes:
        column: Their preprocessing.
        name: The input column's.
        stored: What is there: a shelf, or the keys of what another machine has in its own.
        keys: What cells hold, as hashes.
        tables: With the column.
        fingerprint: Of the preprocessing where it was made, if that was on another machine.
    """

    column: ColumnProcessor
    name: str
    stored: PreparedShelf | frozenset[bytes]
    keys: CellKeys
    tables: Sequence[Table]
    fingerprint: bytes | None = None
    _starts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._starts = np.cumsum([0, *map(len, self.tables)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitems__(self, indices: Sequence[int]) -> list[Made]:
        """What becomes of the cells at some positions.

        Raises:
            ConfigError: This machine decodes otherwise than the one that sent them.
        """
        self._require_same()
        made = [self.made(index) for index in indices]
        return [*made[:-1], made[-1]._replace(digests=self.keys.digests.take_new())]

    def made(self, index: int) -> Made:
        """What becomes of one cell."""
        table, i = self._at(index)
        source = self.column.source
        cell = table.cell(i, source) if table.has(source) else None
        if cell is None:
            return Made("missing")
        root = table.root_of(source)
        key = self.keys.content(cell, root)
        if key is not None and self.has(key):
            return Made("stored", key)
        try:
            decoded = self.column.decoded(cell, table.source(i, source), root)
        except DecodeError as error:
            where = table.source(i, self.name, named_file(cell, self.column))
            return Made("unreadable", unreadable=Unreadable(source=where, reason=str(error)))
        if not decoded.items:
            return Made("missing")
        if key is None or key != self.keys.content(cell, root):  # it was changed while it was read
            return Made("unknown")
        parts = packed(decoded)
        data = b"".join(bytes(part) for part in parts)
        return Made("new", key, data, checksum([data]), bool(decoded.cuts))

    def has(self, key: bytes) -> bool:
        """Whether a cell is stored, whole."""
        if isinstance(self.stored, PreparedShelf):
            return self.stored.cells.get(key, verify=True) is not None
        return key in self.stored

    def known(self, index: int, known: CellKeys) -> Made | None:
        """What becomes of a cell, where that is told without reading its file; None where it is not.

        Args:
            index: Its position.
            known: Keys of files that were hashed before.
        """
        table, i = self._at(index)
        source = self.column.source
        cell = table.cell(i, source) if table.has(source) else None
        if cell is None:
            return Made("missing")
        root = table.root_of(source)
        if isinstance(root, OnlineFolder | RemoteFolder):  # it would be fetched to be looked at
            return None
        key = known.content(cell, root)
        return Made("stored", key) if key is not None and self.has(key) else None

    def elsewhere(self) -> CellReader:
        """The same cells for a machine that has their files and nothing else of this one."""
        source = self.column.source
        is_remote = any(isinstance(table.root_of(source), OnlineFolder | RemoteFolder) for table in self.tables)
        stored: frozenset[bytes] = frozenset()
        if is_remote and isinstance(self.stored, PreparedShelf):
            stored = frozenset(self.stored.cells.keys())  # else they are told apart by `known`
        column = copy.copy(self.column)
        column.prepared = None
        return CellReader(
            column=column,
            name=self.name,
            stored=stored,
            keys=CellKeys(is_media=True, digests=FileDigests(), large=True),
            tables=[_cells_alone(table, source) for table in self.tables],
            fingerprint=decoding_fingerprint(self.column),
        )

    def _at(self, index: int) -> tuple[Table, int]:
        part = int(np.searchsorted(self._starts, index, "right")) - 1
        return self.tables[part], index - int(self._starts[part])

    def _require_same(self) -> None:
        if self.fingerprint is None:
            return
        if decoding_fingerprint(self.column) != self.fingerprint:
            raise ConfigError(
                f"column {self.name!r}: a machine of the cluster decodes it otherwise than this one; install the same "
                "versions of polysense and of the packages that decode on each of them "
                f"({', '.join(self.column.packages) or 'see `polysense doctor`'})"
            )
        self.fingerprint = None


def read_cells(reader: CellReader, executor: Executor, known: FileDigests) -> Iterator[Made]:
    """What becomes of each cell: those that are new in the order of the rows, wherever they are decoded.

    Args:
        reader: The cells.
        executor: Where.
        known: What is known of files, to be asked where the executor is remote.

    Raises:
        ConfigError: The cluster can't see this machine's files, or decodes otherwise.
        PolysenseError: As of `Executor.read`.
    """
    if not executor.is_remote:
        yield from executor.read(reader, range(len(reader)), _AT_ONCE)
        return
    keys, left = CellKeys(is_media=True, digests=known, large=True, reads=False), []
    for index in range(len(reader)):
        made = reader.known(index, keys)
        if made is None:
            left.append(index)
        else:
            yield made
    contradicted = 0
    for index, there in zip(left, executor.read(reader.elsewhere(), left, _AT_ONCE), strict=True):
        made = there
        if there.outcome == "unreadable" or (there.outcome == "stored" and not reader.has(there.key)):
            made = reader.made(index)
        is_contradicted = there.outcome == "unreadable" and made.outcome != "unreadable"
        contradicted = contradicted + 1 if is_contradicted else 0
        if contradicted == _MOST_CONTRADICTED:
            assert there.unreadable is not None
            raise ConfigError(
                f"{there.unreadable.source}: a machine of the cluster can't read what this one can "
                f"({there.unreadable.reason}), as the {contradicted - 1} cells before; put the files on a file system "
                "that all of them see at the same path, or on object storage"
            )
        yield made._replace(digests=there.digests)


def _cells_alone(table: Table, column: str) -> Table:
    """A table with one column and what its cells are told by, as it reads from any working directory."""
    kept = [name for name in table.names if name in (column, table.key)] or table.names[:1]  # it has as many rows
    return table.changed(
        frame=pl.DataFrame([table.column(name) for name in kept]),
        root=table.root.absolute(),
        roots={name: root.absolute() for name, root in table.roots.items() if name == column},
        imputations=None,  # of numbers and the like alone
        sides={},
        joins={},
    )
