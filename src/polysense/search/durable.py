"""Files that outlive a crash, and one writer at a time.

The order is what makes it safe: a new file's bytes reach the disk (fsync), then its name does (fsync of the folder),
and only then does one atomic rename make the manifest name it. At every moment the manifest on disk names complete
files, so a process that is killed, or a machine that loses power, leaves the index as it was before the write or as it
is after it. What no manifest names is rubbish, and the next writer sweeps it away. The price is about 5 fsyncs a write
(some milliseconds on an SSD): write many rows at once.
"""

from __future__ import annotations

import importlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from polysense.errors import SearchError

__all__ = ["FileRecord", "WriterLock", "record_file", "replace_file", "sync_folder", "write_file"]

_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What a manifest knows of a file that never changes again.

    Attributes:
        name: In the index's folder `files`.
        size: Bytes.
        crc32: Of all bytes.
    """

    name: str
    size: int
    crc32: int

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)

    def check_size(self, folder: Path) -> None:
        """Checks that the file is there in full, without reading it.

        Raises:
            FileNotFoundError: It is not there.
            SearchError: It has another size.
        """
        found = (folder / self.name).stat().st_size
        if found != self.size:
            raise self._damaged(folder, f"has {found:,} bytes, and {self.size:,} were written")

    def check(self, folder: Path) -> None:
        """Checks every byte.

        Raises:
            FileNotFoundError: It is not there.
            SearchError: It was changed since it was written.
        """
        self.check_size(folder)
        if _crc32(folder / self.name) != self.crc32:
            raise self._damaged(folder, "does not have the checksum that was written with it")

    def _damaged(self, folder: Path, what: str) -> SearchError:
        return SearchError(
            f"{folder / self.name}: is damaged: it {what}; restore the index from a copy, or index the table again"
        )


def write_file(path: Path, chunks: Iterable[Any]) -> FileRecord:
    """Writes a new file through to the disk; its name is durable after `sync_folder`.

    Args:
        path: Where; nothing may be there yet that a manifest names.
        chunks: What offers its bytes (arrays, bytes), one after another.
    """
    size = checksum = 0
    with path.open("wb") as stream:
        for chunk in chunks:
            view = memoryview(chunk).cast("B") if memoryview(chunk).nbytes else memoryview(b"")
            stream.write(view)
            size, checksum = size + view.nbytes, zlib.crc32(view, checksum)
        stream.flush()
        os.fsync(stream.fileno())
    return FileRecord(name=path.name, size=size, crc32=checksum)


def record_file(path: Path) -> FileRecord:
    """Brings a file that a library has written through to the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return FileRecord(name=path.name, size=path.stat().st_size, crc32=_crc32(path))


def replace_file(path: Path, data: bytes) -> None:
    """Replaces a file in one step: whoever reads it, now or after a crash, finds the old bytes or the new ones."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names of a folder's files durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


class WriterLock:
    """Lets one process write. The system gives it back when the process ends, however it ends.

    Args:
        path: The lock's file; it holds the writer's process id, for messages.

    Raises:
        SearchError: Somebody else holds it, or the system has no such locks.
    """

    def __init__(self, path: Path) -> None:
        try:
            # Unix only; reading an index works everywhere.
            fcntl: Any = importlib.import_module("fcntl")
        except ImportError as error:
            raise SearchError(f"{path.parent}: an index can be written on Linux and macOS only") from error
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            by = f" (process {holder})" if holder else ""
            raise SearchError(
                f"{path.parent}: is being written by another writer{by}; wait until it is done, or end it. "
                "Reading needs no lock"
            ) from error
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next writer in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> WriterLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
