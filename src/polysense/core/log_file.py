"""A log that grows line by line, cut back to the lines that a checkpoint knows of when its run is resumed.

So the log of a run that was stopped is that of a run that was not: what stood behind the checkpoint is written again by
the steps that are done again. A finished run's log is complete, and stays as it is.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, BinaryIO

__all__ = ["LogFile", "appended_records", "synced"]


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
