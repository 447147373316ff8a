"""A folder of files that came from elsewhere, within a bound: what was not used for the longest time goes first."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from polysense.core.machine import bytes_variable, cache_folder

__all__ = ["downloads_folder", "make_room", "most_bytes_of_file"]


def downloads_folder() -> Path:
    """Where files that cells name by an address are kept by default."""
    return cache_folder() / "downloads"


def most_bytes_of_file() -> int:
    """$POLYSENSE_DOWNLOAD_BYTES, else 256 MiB: what a file that a cell names by an address may have.

    Raises:
        ConfigError: The variable holds no number.
    """
    return bytes_variable("POLYSENSE_DOWNLOAD_BYTES", 256 * 2**20)


def make_room(folder: Path, num_bytes: int, most_bytes: int) -> None:
    """Removes the files that were not used for the longest time, until so many more bytes have room.

    Args:
        folder: Of files alone; one that is read sets a file's time.
        num_bytes: That are to come.
        most_bytes: Of all files.
    """
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # removed by another process
                status = entry.stat()
                files.append((status.st_mtime, status.st_size, Path(entry.path)))
    total = sum(size for _, size, _ in files) + num_bytes
    for _, size, path in sorted(files):
        if total <= most_bytes:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
