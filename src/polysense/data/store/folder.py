"""Store: shelves in the user's cache folder, within one bound for all kinds of them.

A shelf is a folder that one process writes to at a time and any number read. Those that were not used for the longest
time are removed where another needs the room.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import ClassVar

from polysense.core.json import read_json, write_json
from polysense.core.lock import locked
from polysense.core.logs import get_logger
from polysense.core.machine import cache_folder, max_cache_bytes
from polysense.errors import LockedError

__all__ = ["FACTS", "Store", "open_shelf"]

FACTS = "shelf.json"
"""A shelf's file that says of which version it is; its time is that of the shelf's last use."""

_SPARED = 0.2  # of the free disk, that is never taken

_log = get_logger("polysense.data.store")


class Store:
    """The shelves of one kind.

    Args:
        folder: By default $POLYSENSE_CACHE, else the user's cache folder; shelves are in a folder of their kind in it.
        max_bytes: Of all shelves of all kinds together; by default $POLYSENSE_CACHE_BYTES, else 20 GiB.

    Attributes:
        kept: Names of shelves that are not removed for others.
    """

    kind: ClassVar[str]
    makes_room: ClassVar[tuple[str, ...]]  # kinds whose shelves are removed for one of this kind

    def __init__(self, folder: Path | None = None, max_bytes: int | None = None) -> None:
        if folder is None:
            folder = cache_folder()
        self.root = folder
        self.folder = folder / self.kind
        self.kept: set[str] = set()
        self.max_bytes = max_cache_bytes() if max_bytes is None else max_bytes

    def has(self, name: str) -> bool:
        """Whether there is a shelf of that name."""
        return (self.folder / name / FACTS).is_file()

    def room(self, name: str) -> int:
        """Bytes that fit in for a shelf, beside what is there, where others are removed for it."""
        total, spared, removable = self._sizes(name)
        room = sum(removable.values())
        return max(0, min(self.max_bytes - (total - room), spared + room))

    def make_room(self, name: str, num_bytes: int) -> bool:
        """Removes other shelves, those that were not used for the longest time first, until so many bytes fit in.

        Args:
            name: The shelf that they are for.
            num_bytes: More than there are.

        Returns:
            Whether they fit in. If not, nothing is removed.
        """
        total, spared, removable = self._sizes(name)
        total += num_bytes
        room = sum(removable.values())
        if total - room > self.max_bytes or num_bytes > spared + room:
            return False
        for folder in sorted(removable, key=lambda each: (each / FACTS).stat().st_mtime):
            if total <= self.max_bytes and num_bytes <= spared:
                break
            with contextlib.suppress(LockedError, OSError), locked(folder):
                shutil.rmtree(folder)
                total, spared = total - removable[folder], spared + removable[folder]
                _log.info("removed %s, whose %s were not used for the longest time", folder, folder.parent.name)
        return total <= self.max_bytes and num_bytes <= spared

    def _sizes(self, name: str) -> tuple[int, int, dict[Path, int]]:
        """Bytes of all shelves, bytes of the disk that may be taken, and the sizes of shelves that may be removed."""
        sizes = {
            each.parent: sum(path.stat().st_size for path in each.parent.iterdir())
            for each in self.root.glob(f"*/*/{FACTS}")
        }
        spared_names = {name, *self.kept}
        removable = {
            folder: size
            for folder, size in sizes.items()
            if folder.parent.name in self.makes_room
            and not (folder.parent == self.folder and folder.name in spared_names)
        }
        above = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        return sum(sizes.values()), int((1 - _SPARED) * shutil.disk_usage(above).free), removable


def open_shelf(folder: Path, facts: dict[str, object], files: tuple[str, ...], *, clean: bool) -> bool:
    """Marks a shelf as used; whether it can be read.

    Args:
        folder: The shelf's.
        facts: What its file has to say, its version among it.
        files: The names of its files.
        clean: Whether the folder is made where it is not there, and what another version wrote there is removed; for
            whoever has it locked.

    Raises:
        OSError: It can't be made or written to, with `clean`.
    """
    path = folder / FACTS
    try:
        is_same = read_json(path, dict) == facts
    except (OSError, ValueError):
        is_same = False
    if not is_same and clean:
        folder.mkdir(parents=True, exist_ok=True)
        if any((folder / name).exists() for name in (*files, FACTS)):
            _log.warning("%s: is damaged or of another version; what it held is computed again", folder)
        for name in files:
            (folder / name).unlink(missing_ok=True)
        write_json(path, facts)
    elif not is_same:
        return False
    with contextlib.suppress(OSError):  # a folder that may only be read
        os.utime(path)
    return True
