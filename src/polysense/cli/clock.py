"""When the time of a command began: with its process, whose imports are a part of it."""

from __future__ import annotations

from time import monotonic

__all__ = ["began", "begin"]

_started: float | None = None


def begin(started: float | None) -> None:
    """Sets when the command under way began, by `time.monotonic`; None: now."""
    global _started
    _started = monotonic() if started is None else started


def began() -> float:
    """When the command under way began."""
    return monotonic() if _started is None else _started
