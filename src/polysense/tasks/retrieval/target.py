"""Input columns of a joint embedding space: the pairs are the rows themselves, so there is no label column.

What a head must know beyond that is which rows hold the same thing, because a batch that has one caption twice would
else teach that the second image does not go with it. So the value of a row is one number per column, a hash of its cell
(the same text, the same file, the same bytes), and one more of a column that the recipe names: its speaker, its
product, its class. Equal numbers are the same thing, and 0 is a missing cell.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.schema import Target
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig, TargetProcessor
from polysense.data.values.cells import clean
from polysense.errors import ColumnError, ConfigError
from polysense.tasks.retrieval.record import RetrievalTarget

__all__ = ["ContrastiveTargetConfig", "RetrievalProcessor", "cell_key"]

_log = get_logger("polysense.data.targets")

# A name of a file: letter case tells files apart, where in a text it does not.
_FILE = re.compile(r"\S*\.\w{2,5}")


@dataclass(frozen=True, kw_only=True)
class ContrastiveTargetConfig(TargetConfig):
    """A joint embedding space of several input columns; the cells of one row are positives. There is no label column.

    Attributes:
        columns: The input columns that share the space, two at least; null takes all of data.columns.
        anchor: The one of them that each other is compared with; null compares each pair.
        same: A column (a class, a product, a speaker) whose equal values mean that rows belong together; null: only
            rows with the same cell (the same text, the same file) do.
        cells: The table's columns that the columns are read from, in the same order; null takes what data.columns says.
    """

    reads_inputs: ClassVar[bool] = True
    task: ClassVar[str] = "retrieval"
    type: Literal["retrieval"] = "retrieval"
    columns: tuple[str, ...] | None = None
    anchor: str | None = None
    same: str | None = None
    cells: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.columns is None:
            return
        if len(set(self.columns)) < max(2, len(self.columns)):
            raise ValueError(f"columns: expected two or more different ones, found {list(self.columns)}")
        if self.anchor is not None and self.anchor not in self.columns:
            raise ValueError(f"anchor: {self.anchor!r} is none of the columns {list(self.columns)}")
        if self.same in self.columns:
            raise ValueError(f"same: {self.same!r} is one of the columns already, whose equal cells count as the same")

    def resolved(self, inputs: Mapping[str, str]) -> ContrastiveTargetConfig:
        """The config with its columns named.

        Raises:
            ConfigError: A column is no input, or there are fewer than two.
        """
        columns = tuple(name for name in inputs if name != self.same) if self.columns is None else self.columns
        if unknown := [name for name in columns if name not in inputs]:
            raise ConfigError(f"columns: {unknown[0]!r} is no input column (data.columns: {', '.join(inputs)})")
        if len(columns) < 2:
            raise ConfigError(f"columns: a joint embedding space needs two input columns, found {list(columns)}")
        cells = tuple(inputs[name] for name in columns)
        return replace(self, columns=columns, cells=None if cells == columns else cells)

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns that share the space, and last the one of what is the same."""
        assert self.columns is not None, f"the columns of {name!r} are not settled; DataConfig does that"
        cells = self.columns if self.cells is None else self.cells
        return cells if self.same is None else (*cells, self.same)

    def build(self, name: str) -> RetrievalProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return RetrievalProcessor(name, self)


class RetrievalProcessor(TargetProcessor):
    """Reads what each cell is; the value is int64 [columns], hashes, 0 where a cell is missing."""

    config: ContrastiveTargetConfig

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        assert self.config.columns is not None
        num_members = len(self.config.columns)
        keys = np.array([[cell_key(cell) for cell in column] for column in cells], dtype=np.int64).T
        keys = keys.reshape(len(table), len(cells))
        paired = np.count_nonzero(keys[:, :num_members], axis=1) >= 2
        where = f"{table.name}, target {self.name!r}"
        if not paired.any():
            raise ColumnError(
                f"{where}: no training row has two of the columns {', '.join(self.config.columns)}; nothing says what "
                "belongs together"
            )
        for index, column in enumerate(self.config.columns):
            result = np.unique(keys[:, index][keys[:, index] != 0])
            if len(result) < 2:
                what = "is empty in all training rows" if not len(result) else "holds the same in all training rows"
                raise ColumnError(f"{where}: the column {column!r} {what}; there is nothing to tell apart")
        _log.info("%s: %d of %d rows have two or more of the columns", where, paired.sum(), len(table))
        return RetrievalTarget(
            name=self.name,
            columns=self.columns,
            num_rows=int(paired.sum()),
            members=self.config.columns,
            anchor=self.config.anchor or "",
        )

    def _value(self, cells: list[object]) -> np.ndarray:
        return np.array([cell_key(cell) for cell in cells], dtype=np.int64)

    def render(self, value: Any) -> list[float]:
        """A place in the space as plain numbers."""
        return [float(number) for number in np.asarray(value).tolist()]


def cell_key(cell: object) -> int:
    """A hash of what a cell holds, the same in every process; 0 where it is missing.

    Texts are the same whatever their letter case, spaces and Unicode form; names of files only as they stand.
    """
    cell = clean(cell)
    if cell is None:
        return 0
    digest = hashlib.blake2b(_content(cell), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def _content(cell: object) -> bytes:
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, dict):  # a media cell: its bytes, or its path
        return b"\0".join(_content(item) for item in cell.values() if item is not None)
    if isinstance(cell, list):
        return b"\1".join(b"" if item is None else _content(item) for item in cell)
    if isinstance(cell, str):
        text = " ".join(unicodedata.normalize("NFC", cell).split())
        return (text if _FILE.fullmatch(text) else text.casefold()).encode("utf-8", "surrogatepass")
    return json.dumps(cell).encode()
