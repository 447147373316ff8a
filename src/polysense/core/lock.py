"""One writer per folder: a lock that dies with its process, so that none is ever stale.

A record lock of the operating system (POSIX `fcntl`) on a file in the folder: the kernel, on a network folder its
server, gives it back when the process ends, in whatever way. Unlike `flock` it is not inherited by forked processes, so
a worker that outlives a killed training holds nothing. It can't tell two holders within one process apart, and ends as
soon as the process closes the file, whoever does; so threads are kept from one another by a set of folders. Where a
file system has no locks, a warning says so and nothing is locked.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polysense.core.logs import get_logger
from polysense.errors import LockedError

__all__ = ["LOCK_FILE", "locked", "require_unlocked"]

LOCK_FILE = ".lock"
"""The file's name; it is there while the folder is locked, and after a kill until the next holder is done."""

_log = get_logger("polysense.core")
_own: set[tuple[int, Path]] = set()  # locked, or about to be, by a thread of the process of that number
_guard = threading.Lock()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within it, no other process, and nobody else in this one, gets this folder.

    Args:
        folder: Is made if it is not there.

    Raises:
        LockedError: Somebody has it; says who.
        OSError: The folder can't be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = (os.getpid(), folder.resolve())
    with _guard:
        _require_other(folder, key)
        _own.add(key)
    try:
        path = folder / LOCK_FILE
        descriptor = _acquire(folder, path)
        try:
            yield
        finally:
            if os.getpid() == key[0]:  # not in a forked process that an error has led here
                with suppress(OSError):
                    path.unlink()
                os.close(descriptor)
    finally:
        _own.discard(key)


def require_unlocked(folder: Path) -> None:
    """Checks that nobody has a folder at this moment.

    Raises:
        LockedError: Somebody has; says who.
    """
    with _guard:  # a thread that took the lock meanwhile would lose it with the file that is closed here
        _require_other(folder, (os.getpid(), folder.resolve()))
        try:
            descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # none is there, or the folder can't be written to, which whoever writes will hear
            return
        try:
            if not _take(descriptor):
                raise LockedError(_message(folder, _holder(descriptor)))
        finally:
            os.close(descriptor)


def _require_other(folder: Path, key: tuple[int, Path]) -> None:
    if key in _own:
        raise LockedError(_message(folder, f"this process ({key[0]})"))


def _acquire(folder: Path, path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not _take(descriptor):
            holder = _holder(descriptor)
            os.close(descriptor)
            raise LockedError(_message(folder, holder))
        try:  # the holder before may have removed the file between the two steps
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        except FileNotFoundError:
            pass
        os.close(descriptor)
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()
    with suppress(OSError):  # a full disk: the lock holds without a name in it
        os.ftruncate(descriptor, 0)
        os.write(descriptor, facts)
    return descriptor


def _take(descriptor: int) -> bool:
    """Whether nobody else has it."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        _log.warning("this folder's file system has no locks (%s): don't start two runs in it", error.strerror)
    return True


def _holder(descriptor: int) -> str:
    try:
        facts = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(facts['pid'])} on {str(facts['host'])[:100]!r}, since {str(facts['since'])[:40]},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _message(folder: Path, holder: str) -> str:
    return (
        f"{folder}: {holder} is writing to this folder; expected one process at a time. Wait until it has ended, "
        "end it, or take another folder"
    )
