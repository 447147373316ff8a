"""What a media cell refers to: a file or bytes, checked before any decoder sees it.

A path is looked at before it is opened: opening a FIFO would wait for ever and reading a device would never end, so
only regular files pass.
"""

from __future__ import annotations

import errno
import stat
from dataclasses import dataclass
from pathlib import Path

from polysense.data.file_names import existing
from polysense.data.sources import resolve
from polysense.errors import DecodeError

__all__ = ["Media", "describe_bytes", "locate", "short"]

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@dataclass(frozen=True, slots=True)
class Media:
    """Encoded media: exactly one of a regular, non-empty file and bytes."""

    path: Path | None
    data: bytes | None
    num_bytes: int

    def read(self, num_bytes: int = -1) -> bytes:
        """The content, or its first bytes.

        Raises:
            DecodeError: The file can't be read.
        """
        if self.data is not None:
            return self.data if num_bytes < 0 else self.data[:num_bytes]
        assert self.path is not None
        try:
            with self.path.open("rb") as file:
                return file.read(num_bytes)
        except OSError as error:
            raise DecodeError(_why(error, self.path)) from None


def short(value: object, limit: int = 80) -> str:
    """A value's repr, cut for a message."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _why(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"no such file: {short(str(path), 300)}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"permission denied: {short(str(path), 300)}; make it readable"
    return f"can't be opened: {error.strerror or error} ({short(str(path), 300)})"


def locate(cell: object, root: Path, kind: str) -> Media:
    """Finds what a cell refers to.

    Args:
        cell: A path (str or Path, relative to `root`), bytes, or {"bytes": ..., "path": ...} as `datasets` has it.
        root: The folder that relative paths start from.
        kind: "image" or "audio", for messages.

    Raises:
        DecodeError: No such file, a directory, a pipe or device, no permission, nothing inside, or another type.
    """
    if isinstance(cell, dict):
        data, path = cell.get("bytes"), cell.get("path")
        if data is None and path is None:
            raise DecodeError(f"found a dict with keys {short(sorted(map(str, cell)))}, expected 'bytes' or 'path'")
        cell = path if data is None else data
    if isinstance(cell, (bytes, bytearray, memoryview)):
        if not len(cell):
            raise DecodeError(f"is empty (0 bytes), expected an {kind} file")
        return Media(None, bytes(cell), len(cell))
    if isinstance(cell, str):
        try:
            path = resolve(root, cell)
        except RuntimeError as error:  # `~` without a home folder
            raise DecodeError(f"found {short(cell)}, expected the path of an {kind} file: {error}") from None
    elif isinstance(cell, Path):
        path = root / cell
    else:
        raise DecodeError(
            f"found {short(cell)} ({type(cell).__name__}), expected an {kind} file: its path or its bytes"
        )
    path = existing(path)
    try:
        status = path.stat()
    except OSError as error:
        raise DecodeError(_why(error, path)) from None
    except ValueError as error:  # a NUL byte or a lone surrogate in the name
        raise DecodeError(f"found {short(cell)}, expected the path of an {kind} file: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        result = next((name for test, name in _KINDS if test(status.st_mode)), "not a regular file")
        raise DecodeError(f"is {result}, expected an {kind} file: {short(str(path), 300)}")
    if status.st_size == 0:
        raise DecodeError(f"is empty (0 bytes), expected an {kind} file")
    return Media(path, None, status.st_size)


def describe_bytes(head: bytes) -> str | None:
    """Says that bytes are plain text, and how it starts; None if they are not."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not just a character cut by the end of `head`
            return None
        text = head[: error.start].decode("utf-8")
    if not text or any(ord(letter) < 32 and letter not in "\t\n\r\f\x1b" for letter in text):
        return None
    return f"is a text file that starts with {short(text, 40)}"
