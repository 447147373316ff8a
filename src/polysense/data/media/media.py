"""What a media cell refers to: a file, a member of a tar archive or bytes, checked before any decoder sees it.

A path is looked at before it is opened: opening a FIFO would wait for ever and reading a device would never end, so
only regular files pass; what has become something else by the time it is opened is refused then.

Nothing that a file holds is ever quoted in a message: a cell may name any file of the machine, and messages are read
by others.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from dataclasses import dataclass
from io import BufferedReader, BytesIO, FileIO, RawIOBase, UnsupportedOperation
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from polysense.data.media.archives import Member, archive_of, split_path
from polysense.data.media.paths import find_file
from polysense.errors import DecodeError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MAX_BYTES", "Media", "Stream", "describe_bytes", "is_there", "locate", "reason", "short", "too_many_pixels"]

Stream: TypeAlias = BufferedReader | BytesIO
"""A file's content, opened."""

MAX_BYTES = 2**30
"""The largest file that is read whole; sound and videos, which are read piece by piece, have no such limit."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_SPARSE_FROM = 2**30  # bytes
_SLICE_BUFFER = 2**16
_QUOTING = re.compile("[:'\"`(\\[{<]|b'|\n")
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Media:
    """Encoded media: exactly one of a regular, non-empty file, which may be a slice of an archive, and bytes.

    Attributes:
        path: The file, or the archive.
        data: The bytes.
        num_bytes: Of the content.
        member: Which part of the file it is; None where it is all of it.
    """

    path: Path | None
    data: bytes | None
    num_bytes: int
    member: Member | None = None

    @property
    def suffix(self) -> str:
        """The file name's ending, in small letters, with the dot; "" for bytes."""
        name = self.name
        return "" if name is None else Path(name).suffix.lower()

    @property
    def name(self) -> str | None:
        """The file's name, of a member the path within its archive; None for bytes."""
        if self.member is not None:
            return self.member.name
        return None if self.path is None else self.path.name

    @property
    def is_whole_file(self) -> bool:
        """Whether it can be handed on as an open file, which begins and ends where the content does."""
        return self.path is not None and self.member is None

    def descriptor(self) -> int:
        """The file that it is or is a part of, opened; its caller closes it.

        Raises:
            DecodeError: It can't be opened, or is no regular file any more.
        """
        assert self.path is not None
        try:
            descriptor = os.open(self.path, _FLAGS)
        except OSError as error:
            raise DecodeError(_why(error, self.path.name)) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise DecodeError("is not a regular file any more")
        return descriptor

    def open(self) -> Stream:
        """The content as a stream.

        Raises:
            DecodeError: The file can't be opened.
        """
        if self.data is not None:
            return BytesIO(self.data)
        if self.member is not None:
            return BufferedReader(_Slice(self.descriptor(), self.member.offset, self.num_bytes), _SLICE_BUFFER)
        return os.fdopen(self.descriptor(), "rb")

    def read(self, num_bytes: int = -1) -> bytes:
        """The content, or its first bytes.

        Raises:
            DecodeError: The file can't be read, or is too large to be read whole.
        """
        if self.data is not None:
            return self.data if num_bytes < 0 else self.data[:num_bytes]
        if num_bytes < 0 and self.num_bytes > MAX_BYTES:
            raise DecodeError(f"is a file of {self.num_bytes:,} bytes, expected at most {MAX_BYTES:,}")
        try:
            with self.open() as file:
                return file.read(min(num_bytes, self.num_bytes) if num_bytes >= 0 else self.num_bytes)
        except OSError as error:
            raise DecodeError(_why(error, "" if self.path is None else self.path.name)) from None


class _Slice(RawIOBase):
    """A part of an open file as a file of its own.

    Args:
        descriptor: The file's; closed with this one.
        offset: Where it begins.
        num_bytes: How long it is.
    """

    def __init__(self, descriptor: int, offset: int, num_bytes: int) -> None:
        self._file = FileIO(descriptor, "rb")
        self._offset, self._size, self._at = offset, num_bytes, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """See the base."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}.get(whence)
        if start is None:
            raise UnsupportedOperation(f"a seek of the kind {whence}")
        if start + offset < 0:
            raise OSError(errno.EINVAL, "a seek to before the start")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """See the base."""
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        if not len(view):
            return 0
        self._file.seek(self._offset + self._at)
        count = self._file.readinto(view) or 0
        self._at += count
        return count

    def close(self) -> None:
        """See the base."""
        if not self.closed:
            self._file.close()
        super().close()


def short(value: object, limit: int = 80) -> str:
    """A value's repr, cut for a message."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def reason(error: BaseException | str) -> str:
    """What a library says of a file, without what it quotes of it: the words before the first mark.

    What the system or FFmpeg says (`strerror`) goes without the file's name, which the list of unreadable cells has.
    """
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    text = _QUOTING.split(str(getattr(error, "strerror", None) or error).strip(), maxsplit=1)[0].strip(" .,;-")
    return text[:120] or (error if isinstance(error, str) else type(error).__name__)


def _why(error: OSError, named: str, root: Path | None = None) -> str:
    """Why a file can't be opened, named as its cell names it."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        start = "" if root is None or Path(named).is_absolute() else f"; paths start from the folder {short(root.name)}"
        return f"no such file: {short(named, 300)}{start}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"permission denied: {short(named, 300)}; make it readable"
    return f"can't be opened: {error.strerror or error} ({short(named, 300)})"


def locate(cell: object, root: Path, kind: str) -> Media:
    """Finds what a cell refers to.

    Args:
        cell: A path (str or Path, relative to `root`; through a tar archive as through a folder), bytes, or
            {"bytes": ..., "path": ...} as `datasets` has it.
        root: The folder that relative paths start from.
        kind: What is expected, for messages.

    Raises:
        DecodeError: No such file, a directory, a pipe or device, no permission, nothing inside, another type, or a
            file that may not be read (`paths.find_file`).
    """
    if isinstance(cell, dict):
        data, path = cell.get("bytes"), cell.get("path")
        if data is None and path is None:
            raise DecodeError(f"found a dict with keys {short(sorted(map(str, cell)))}, expected 'bytes' or 'path'")
        cell = path if data is None else data
    if isinstance(cell, (bytes, bytearray, memoryview)):
        if not len(cell):
            raise DecodeError(f"is empty (0 bytes), expected {_file_of(kind)}")
        return Media(None, bytes(cell), len(cell))
    if not isinstance(cell, (str, Path)):
        raise DecodeError(
            f"found {short(cell)} ({type(cell).__name__}), expected {_file_of(kind)}: its path or its bytes"
        )
    named = str(cell).strip()
    try:
        path = find_file(root, cell)
        parts = split_path(path)
        if parts is not None:
            return _member(*parts, kind)
        status = path.stat()
    except DecodeError:
        raise
    except OSError as error:
        raise DecodeError(_why(error, named, root)) from None
    except ValueError as error:  # a NUL byte or a lone surrogate in the name
        raise DecodeError(f"found {short(named)}, expected the path of {_file_of(kind)}: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        result = next((name for test, name in _KINDS if test(status.st_mode)), "not a regular file")
        raise DecodeError(f"is {result}, expected {_file_of(kind)}: {short(named, 300)}")
    if status.st_size == 0:
        raise DecodeError(f"is empty (0 bytes), expected {_file_of(kind)}")
    _check_stored(path, status)
    return Media(path, None, status.st_size)


def is_there(cell: object, root: Path) -> bool:
    """Whether a cell names or holds a file that can be opened; arguments as of `locate`."""
    try:
        locate(cell, root, "media")
    except DecodeError:
        return False
    return True


def _member(path: Path, name: str, kind: str) -> Media:
    """A member of an archive; DecodeError as of `locate`, OSError where the archive can't be opened."""
    try:
        member = archive_of(path).find(name)
    except DecodeError as error:
        raise DecodeError(f"the archive {short(path.name)} {str(error).removeprefix('the archive ')}") from None
    if member is None:
        raise DecodeError(f"no such member of the archive {short(path.name)}: {short(name, 300)}")
    if not member.num_bytes:
        raise DecodeError(f"is empty (0 bytes), expected {_file_of(kind)}")
    status = path.stat()
    there = max(0, status.st_size - member.offset)
    if there < member.num_bytes:
        raise DecodeError(
            f"is cut short: the archive {short(path.name)} states {member.num_bytes:,} bytes of it, {there:,} are there"
        )
    _check_stored(path, status)
    return Media(path, None, member.num_bytes, member)


def _file_of(kind: str) -> str:
    return f"a{'n' if kind[:1] in 'aeiou' else ''} {kind} file"


def _check_stored(path: Path, status: os.stat_result) -> None:
    """Refuses a file that is large and mostly holes: reading its zeros takes hours, and no recording has them."""
    if status.st_size < _SPARSE_FROM or sys.platform == "win32":
        return
    stored = status.st_blocks * 512
    if 2 * stored >= status.st_size:
        return
    try:
        descriptor = os.open(path, _FLAGS)
        try:
            hole = os.lseek(descriptor, 0, os.SEEK_HOLE)
        finally:
            os.close(descriptor)
    except OSError:
        return
    if hole < status.st_size:
        raise DecodeError(f"states {status.st_size:,} bytes, of which {stored:,} are stored: the rest are holes")


def describe_bytes(head: bytes) -> str | None:
    """Says that bytes are plain text; None if they are not."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not just a character cut by the end of `head`
            return None
        text = head[: error.start].decode("utf-8")
    if not text or any(ord(letter) < 32 and letter not in "\t\n\r\f\x1b" for letter in text):
        return None
    return "is a text file"


def too_many_pixels(size: str, max_pixels: int) -> str:
    """Why a picture is refused."""
    return f"has {size} pixels, more than the limit of {max_pixels:,}; shrink it, or raise the column's max_pixels"
