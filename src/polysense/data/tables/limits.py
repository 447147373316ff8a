"""Limits of the memory that reading a table file may take, since a small file can hold a table of any size.

A gzip file of 2 MB unpacks to 2 GB, a Parquet file of 6 kB can state a billion rows, and a JSON Lines file in which
each row has keys of its own grows with the square of its length. So a table may take `expansion` times its file's size,
and `unsuspicious` bytes in any case, but never more than `memory`. The estimate counts cells as they are held after
reading (16 bytes a text and its characters); Python objects made of them take a small multiple of it.

The limits are settings of the process, since a table is read before any recipe is known: environment variables.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from polysense.errors import ConfigError, TableError

__all__ = ["CELL_BYTES", "MAX_DEPTH", "TableBudget", "TableLimits"]

CELL_BYTES = 16
"""What a cell takes beside its characters."""

MAX_DEPTH = 64
"""Levels of lists and dicts in a cell: libraries that hold them recurse, and no column type reads as many."""

_UNSUSPICIOUS = 128 << 20
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True, kw_only=True)
class TableLimits:
    """How large a table file may be.

    Attributes:
        columns: Columns at most; `POLYSENSE_TABLE_COLUMNS`.
        expansion: How many times its file's size a table may take in memory; `POLYSENSE_TABLE_EXPANSION`.
        memory: Bytes that a table may take in memory; `POLYSENSE_TABLE_MEMORY`, such as 32GB. By default three quarters
            of the machine's.
        unsuspicious: Bytes that a table may take whatever its file's size.
    """

    columns: int = 20_000
    expansion: int = 200
    memory: int = field(default_factory=lambda: _machine_memory() * 3 // 4)
    unsuspicious: int = _UNSUSPICIOUS

    @classmethod
    def from_environment(cls) -> TableLimits:
        """The limits of this process.

        Raises:
            ConfigError: A variable holds no positive number.
        """
        stated = {
            name: _number(variable, text)
            for name in ("columns", "expansion", "memory")
            if (text := os.environ.get(variable := f"POLYSENSE_TABLE_{name.upper()}"))
        }
        return cls(**stated)


class TableBudget:
    """What one file's table may still take, or that of several files, whose bytes are then given.

    Attributes:
        path: The file.
        limits: What it was made from.
        limit: Bytes in all.
    """

    def __init__(self, path: Path, limits: TableLimits | None = None, *, num_bytes: int | None = None) -> None:
        self.path = path
        self.limits = TableLimits.from_environment() if limits is None else limits
        self._size = path.stat().st_size if num_bytes is None else num_bytes
        allowed = max(self.limits.unsuspicious, self.limits.expansion * self._size)
        self.limit = min(allowed, self.limits.memory)
        self._spent = 0

    def spend(self, num_bytes: int, what: str = "is held in") -> None:
        """Counts bytes in.

        Raises:
            TableError: They are more than the table may take; names the limit's setting.
        """
        self._spent += num_bytes
        self.check(self._spent, what)

    def check(self, num_bytes: int, what: str = "is held in") -> None:
        """As `spend`, of all bytes."""
        if num_bytes <= self.limit:
            return
        if self.limit == self.limits.memory:
            raise TableError(
                f"{self.path}: {what} more than {_size(self.limit)}, which is all the memory that a table may take on "
                f"this machine; split the file, or set the environment variable POLYSENSE_TABLE_MEMORY=SIZE (such as "
                f"{_size(2 * self.limit).replace(' ', '')})"
            )
        raise TableError(
            f"{self.path}: {what} more than {_size(self.limit)}, from a file of {_size(self._size)}: a table may take "
            f"{self.limits.expansion} times its file's size (and {_size(self.limits.unsuspicious)} in any case), so "
            f"that a crafted file can't exhaust the memory; if you trust the file, set the environment variable "
            f"POLYSENSE_TABLE_EXPANSION=N, or unpack it"
        )

    def check_columns(self, number: int, where: str | None = None) -> None:
        """Checks how many columns there are.

        Raises:
            TableError: More than a table may have; names the limit's setting.
        """
        if number > self.limits.columns:
            raise TableError(
                f"{where or self.path}: found {number:,} columns or more, expected at most {self.limits.columns:,}; "
                f"hold many measurements of one kind as a list in one column, or set the environment variable "
                f"POLYSENSE_TABLE_COLUMNS=N"
            )


def _number(variable: str, text: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text, re.IGNORECASE)
    number = 0 if match is None else int(float(match[1]) * _UNITS[match[2].lower()])
    if number < 1:
        raise ConfigError(f"the environment variable {variable}: found {text[:50]!r}, expected a number such as 500")
    return number


def _size(num_bytes: int) -> str:
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes} bytes"


def _machine_memory() -> int:
    """The bytes that this process may use, as far as the system tells."""
    known = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no sysconf on Windows
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            known.append(int(Path(limit).read_text(encoding="ascii")))
    return min([number for number in known if number > 0], default=16 << 30)
