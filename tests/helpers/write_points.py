"""What a kill leaves: a copy of a folder at each point at which something in it is opened, written, renamed or removed.

A process that dies at a point leaves the files as they are on the disk at that moment, so a copy taken then is what a
kill leaves, and one run gives all of them. Python's audit events tell of every open, rename and removal, whoever asks
for it, so that write points of later code are among them; `os.fsync` and the lines of logs are told by patches. At an
fsync there is also the copy in which the file is only half there.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polysense.core.log_file import LogFile

__all__ = ["Snapshots", "contents", "kind_of_point", "one_of_each_kind", "snapshots_of", "stopped_clocks"]

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.move"}
)
_active: Snapshots | None = None
_installed = False


class Snapshots:
    """Copies of a folder, each different from all others.

    Args:
        folder: What is written to; its copies have its name.
        place: Where the copies go, each in a folder of its own.

    Attributes:
        points: By kind (open, rename, fsync, ...) how many there were.
        copies: Per copy what came next, and where it lies.
    """

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.place = folder, place
        self.points: Counter[str] = Counter()
        self.copies: list[tuple[str, Path]] = []
        self._taken: set[str] = set()
        self._busy = False

    def note(self, kind: str, path: object, torn: int | None = None) -> None:
        """Takes a copy before something happens to a path, if it lies in the folder.

        Args:
            kind: What happens.
            path: To what.
            torn: Bytes of it that are there in a second copy.
        """
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        where = Path(os.fsdecode(path))
        if self._busy or (where != self.folder and self.folder not in where.parents):
            return
        self._busy = True
        try:
            self.points[kind] += 1
            self._take(f"{kind} {where.relative_to(self.folder)}")
            if torn is not None:
                self.points["write"] += 1
                self._take(f"half {where.relative_to(self.folder)}", where, torn)
        finally:
            self._busy = False

    def _take(self, name: str, torn: Path | None = None, length: int = 0) -> None:
        key = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")) if self.folder.exists() else ():
            content = b"" if path.is_dir() else path.read_bytes()
            content = content[:length] if path == torn else content
            key.update(f"\0{_PART.sub('PART', str(path.relative_to(self.folder)))}\0{len(content)}\0".encode())
            key.update(b"" if path.name == ".lock" else content)
        if key.hexdigest() in self._taken:
            return
        self._taken.add(key.hexdigest())
        copy = self.place / str(len(self.copies)) / self.folder.name
        copy.parent.mkdir(parents=True)
        if self.folder.exists():
            shutil.copytree(self.folder, copy)
            if torn is not None:
                os.truncate(copy / torn.relative_to(self.folder), length)
        self.copies.append((name, copy))


@contextmanager
def snapshots_of(folder: Path, place: Path, patch: pytest.MonkeyPatch) -> Iterator[Snapshots]:
    """Within it, the folder is copied at each write point."""
    global _active, _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True
    snapshots = Snapshots(folder, place)
    write = LogFile.write

    def noted_fsync(descriptor: int) -> None:  # and does nothing: no machine stops here
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        is_part = _PART.fullmatch(path.name) is not None and path.is_file()
        snapshots.note("fsync", path, path.stat().st_size // 2 if is_part else None)

    def noted_write(self: LogFile, text: str) -> None:
        snapshots.note("write", self.path)
        write(self, text)
        snapshots.note("write", self.path, self.path.stat().st_size - 5)  # half a line

    with patch.context() as within:
        within.setattr(os, "fsync", noted_fsync)
        within.setattr(LogFile, "write", noted_write)
        _active = snapshots
        try:
            yield snapshots
        finally:
            _active = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _active is None:
        return
    if event == "open":
        path, mode, flags = arguments
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (mode is None and flags & _WRITING):
            _active.note("open", path)
    elif event in _EVENTS:
        for path in arguments[:2]:
            _active.note(event.removeprefix("os.").removeprefix("shutil."), path)
    elif event == "ctypes.dlsym" and arguments[1] == "renameat2":
        _active.note("exchange", _active.folder)


def kind_of_point(name: str) -> tuple[str, str]:
    """What happens at a point, and to what: there is one piece of code for each, however many files it writes.

    Returns:
        The event and the place: a single "file" that is written beside its place and renamed, a "folder" that is made
        whole and swapped in, a "checkpoint", a "log" that grows, or what is made and brought to the disk "around" them.
        Of what a run trains beside its model (its baselines, its folds) the event is "any": it is the run again, in a
        folder of its own.
    """
    event, _, path = name.partition(" ")
    path = _PART.sub("PART", path)
    own = re.sub(r"^(?:baselines|folds)/.*?\d+/", "", path)
    parts = own.split("/")
    if "checkpoints" in parts:
        place = "checkpoint"
    elif parts[-1].endswith((".jsonl", ".log")):
        place = "log"
    elif "PART" in parts[:-1]:
        place = "folder"
    else:
        place = "file" if parts[-1] == "PART" else "around"
    return ("any", f"{path.partition('/')[0]}: {place}") if own != path else (event, place)


def one_of_each_kind(copies: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """A point of each kind, of some kinds in the middle and of others late, where less is left to be done."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, (name, _) in enumerate(copies):
        groups.setdefault(kind_of_point(name), []).append(number)
    share = [0.4 + 0.6 * (index + 0.5) / len(groups) for index in range(len(groups))]
    numbers = [numbers[int(part * len(numbers))] for numbers, part in zip(groups.values(), share, strict=True)]
    return [copies[number] for number in sorted(numbers)]


@contextmanager
def stopped_clocks(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it, no time passes, so that files may be compared byte by byte."""
    import time

    from polysense.training.callbacks import jsonl
    from polysense.workflows import environment_facts

    class Stopped(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Stopped:
            return cls(2026, 1, 1, tzinfo=tz)

    with patch.context() as within:
        now = time.time()
        # Of these Ray, once it was imported, dates log records by the second.
        clocks = {"time": now, "time_ns": round(now * 1e9), "monotonic": 1.0, "perf_counter": 1.0}
        for name, value in clocks.items():
            within.setattr(time, name, lambda value=value: value)
        within.setattr(jsonl, "_now", lambda: "2026-01-01T00:00:00+00:00")
        within.setattr(environment_facts, "datetime", Stopped)
        yield


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder and below, by its path there; folders too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"folder"
        for path in sorted(folder.rglob("*"))
    }
