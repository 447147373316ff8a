"""Time limit of a cell: a decoder that hangs is given up, its cell counts as unreadable, and the run goes on.

Nothing in Python ends a library that loops in C, and a process for each cell would cost more than decoding it. So cells
are decoded in a thread that says which one it is at, a batch of rows at a time. Who waits for it gives a cell up when
its time is over, leaves the thread behind and has the work done once more, without that cell. What returns to Python
now and then, such as a video read frame by frame, ends then; what never does holds a core until the process ends.
Decoders release Python's lock while they work: one that did not could not be waited for.
"""

from __future__ import annotations

import contextvars
import ctypes
import hashlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from polysense.core.logs import get_logger
from polysense.core.machine import seconds_variable
from polysense.errors import DecodeError

__all__ = ["decode_seconds", "watched", "within_limit"]

_log = get_logger("polysense.data.media")

T = TypeVar("T")

_SECONDS, _DEFAULT = "POLYSENSE_DECODE_SECONDS", 120.0
_STEPS = 4  # looks at the clock within a limit


class _GivenUpError(BaseException):
    """Ends a thread that was left behind."""


class _Progress:
    """What a decoding thread is at.

    Attributes:
        at: Since when, and which cell; None between cells.
    """

    def __init__(self) -> None:
        self.at: tuple[float, object] | None = None


class _Local(threading.local):
    progress: _Progress | None = None


_local = _Local()
_given_up: dict[object, float] = {}  # cells, and the limit that they were over


def decode_seconds() -> float:
    """Seconds that decoding a cell may take, by $POLYSENSE_DECODE_SECONDS; 0 for no limit.

    Raises:
        ConfigError: The variable holds no duration.
    """
    return seconds_variable(_SECONDS, _DEFAULT)


def within_limit(decode: Callable[[], T], cell: object) -> T:
    """Decodes a cell.

    Args:
        decode: Does it; may be called twice.
        cell: By which it is known again: its text or bytes, or what else tells it from others.

    Raises:
        DecodeError: It takes longer than a cell may, now or earlier in this process; or of `decode`.
    """
    progress = _local.progress
    if progress is None:
        return watched(lambda: within_limit(decode, cell)) if decode_seconds() else decode()
    if _given_up and (limit := _given_up.get(_key(cell))) is not None:
        raise DecodeError(f"takes longer than {limit:g} seconds to decode; it is damaged, or set {_SECONDS} higher")
    progress.at = (time.monotonic(), cell)
    try:
        return decode()
    finally:
        progress.at = None


def watched(work: Callable[[], T]) -> T:
    """Does something in which cells are decoded by `within_limit`; once more for each cell that is given up.

    Args:
        work: Whatever it does may be done twice. Within watched work it is simply called.
    """
    limit = decode_seconds()
    if _local.progress is not None or not limit:
        return work()
    while True:
        progress, results, errors = _Progress(), list[T](), list[BaseException]()
        done = threading.Event()
        thread = threading.Thread(
            target=_run, args=(work, progress, results, errors, done, contextvars.copy_context()), daemon=True
        )
        thread.start()
        while not done.wait(limit / _STEPS):
            at = progress.at
            if at is not None and time.monotonic() - at[0] > limit:
                _given_up[_key(at[1])] = limit
                _log.warning("a cell takes longer than %g seconds to decode; it is given up", limit)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_GivenUpError)
                )
                break
        else:
            if errors:
                raise errors[0]
            return results[0]


def _run(
    work: Callable[[], T],
    progress: _Progress,
    results: list[T],
    errors: list[BaseException],
    done: threading.Event,
    context: contextvars.Context,
) -> None:
    _local.progress = progress
    try:
        results.append(context.run(work))
    except BaseException as error:  # noqa: BLE001 (raised again where it is waited for)
        errors.append(error)
    finally:
        done.set()


def _key(cell: object) -> object:
    if isinstance(cell, dict):
        return _key(cell.get("bytes") or cell.get("path"))
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return hashlib.blake2b(cell, digest_size=16).digest()
    if isinstance(cell, list):
        return tuple(map(_key, cell))
    try:
        hash(cell)
    except TypeError:
        return id(cell)
    return cell
