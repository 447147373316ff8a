"""Logs that grow line by line: of a run, and of what people decide.

The log of a run is cut back to the lines that a checkpoint knows of when the run is resumed. So the log of a run that
was stopped is that of a run that was not: what stood behind the checkpoint is written again by the steps that are done
again. A finished run's log is complete, and stays as it is. A durable log is never cut, but for half a line: nobody
decides anything again because a process was killed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, BinaryIO

__all__ = ["DurableLog", "LogFile", "appended_records", "synced"]


def appended_records(path: Path, size: int) -> BinaryIO:
    """A file to append records of a fixed size to; what a killed process left of half a record is cut off.

    Raises:
        OSError: It can't be written.
    """
    file = path.open("ab")
    file.truncate(file.tell() // size * size)
    return file


def synced(file: IO[bytes]) -> None:
    """Brings what was written to a file through to the disk.

    Raises:
        OSError: It can't be.
    """
    file.flush()
    os.fsync(file.fileno())


class LogFile:
    """A file that lines are appended to, each handed to the system before the next.

    Args:
        path: The file.

    Attributes:
        num_lines: Lines that it has; before it is opened, those that a resumed run's checkpoint knows of.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_lines = 0
        self._file: BinaryIO | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return self._file is not None

    def tail(self) -> list[str]:
        """The whole lines that the checkpoint does not know of."""
        lines = self._content().split(b"\n")[:-1]
        return [line.decode("utf-8", "replace") for line in lines[self.num_lines :]]

    def open(self, *, resumed: bool) -> None:
        """Opens it: empty, or, of a resumed run, with the lines that the checkpoint knows of.

        Raises:
            OSError: It can't be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        retained = self._content().split(b"\n")[:-1][: self.num_lines] if resumed else []
        self._file = self.path.open("ab")
        self._file.truncate(sum(len(line) + 1 for line in retained))
        self.num_lines = len(retained)

    def write(self, text: str) -> None:
        """Appends a line, or several.

        Raises:
            OSError: The disk is full, or the like; names the file.
        """
        assert self._file is not None, "the log is not open"
        try:
            self._file.write(text.encode("utf-8", "replace") + b"\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.num_lines += text.count("\n") + 1

    def sync(self) -> int:
        """Brings it through to the disk, and says how many lines it has."""
        if self._file is not None:
            os.fsync(self._file.fileno())
        return self.num_lines

    def close(self) -> None:
        """Closes it; what a full disk does not take is lost, as an earlier `write` has said."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError:
            return b""


class DurableLog:
    """A file of lines, each of which is on the disk when `append` returns. A line that was not confirmed may be there,
    half of one never is once the file was opened again.

    Whoever opens it is alone with it (`core.lock`).

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._size = 0

    @staticmethod
    def lines(path: Path) -> list[bytes]:
        """The whole lines of a file that may be written to meanwhile; none where there is no such file.

        Raises:
            OSError: It can't be read.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        return content.split(b"\n")[:-1]

    def recover(self) -> list[bytes]:
        """Opens it to append to, and gives its whole lines; what a killed process left of half a line is cut off.

        Raises:
            OSError: It can't be read or written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.lines(self.path)
        self._size = sum(len(line) + 1 for line in lines)
        self._file = self.path.open("ab", buffering=0)
        self._cut()
        # The folder's entry of a new file has to reach the disk, too.
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system that can't has none to lose
                os.fsync(folder)
        finally:
            os.close(folder)
        return lines

    def append(self, line: bytes) -> None:
        """Appends a line and brings it through to the disk.

        Args:
            line: Without a line end.

        Raises:
            OSError: The disk is full, or the like; names the file, which is as it was before.
        """
        assert self._file is not None, "the log is not open"
        assert b"\n" not in line, "a line is one line"
        data = memoryview(line + b"\n")
        try:
            self._cut()
            while data:
                data = data[self._file.write(data) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut()  # else before the next line
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._size += len(line) + 1

    def close(self) -> None:
        """Closes it."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _cut(self) -> None:
        assert self._file is not None
        if os.fstat(self._file.fileno()).st_size != self._size:
            self._file.truncate(self._size)
            os.fsync(self._file.fileno())
