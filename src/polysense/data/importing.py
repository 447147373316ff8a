"""What every importer shares: a format of annotations beside media files, read as rows of a table."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from polysense.config.base import Family
from polysense.errors import TableError

__all__ = ["ImportedRow", "ImporterConfig", "named_split", "read_limited"]

_MAX_BYTES = 2**31
_SPLITS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImportedRow:
    """A row.

    Attributes:
        file: The media file that it is about, by column.
        cells: The other columns.
        source: Where it stands, for messages.
    """

    file: Mapping[str, Path]
    cells: Mapping[str, object] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class ImporterConfig(Family, ABC, family="importer", homes=("tasks.*.importers.*",)):
    """A format."""

    type: str

    @abstractmethod
    def recognizes(self, source: Path) -> bool:
        """Whether a file or folder is of this format, from names and first bytes alone."""

    @abstractmethod
    def rows(self, source: Path) -> Iterator[ImportedRow]:
        """All rows, one for each media file, in a fixed order.

        Raises:
            TableError: It is broken; the message names file, place and what was expected.
        """


def named_split(name: str) -> str | None:
    """The part that a file's or folder's name says as a word of its own ("instances_val2017"): "train", "validation" or
    "test"; None where it says none, or several."""
    said = {_SPLITS[word] for word in re.findall("[a-z]+", name.lower()) if word in _SPLITS}
    return said.pop() if len(said) == 1 else None


def read_limited(path: Path, max_bytes: int = _MAX_BYTES) -> str:
    """A text file, within limits.

    Raises:
        TableError: It is larger, is no UTF-8, or can't be read.
    """
    try:
        if (size := path.stat().st_size) > max_bytes:
            raise TableError(f"{path}: has {size:,} bytes, expected {max_bytes:,} at most")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is not UTF-8 at byte {error.start:,}; expected text") from None
    except OSError as error:
        raise TableError(f"{path}: can't be read: {error.strerror or error}") from None
