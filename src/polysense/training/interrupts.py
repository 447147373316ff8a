"""Ctrl-C and SIGTERM, turned into a flag that the loop reads between two steps.

A step that is cut short would leave half-updated weights. So the first signal only sets the flag; a second one stops
at once. Where there is nothing to lose (validation), the first one stops at once as well.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupts:
    """Within it, signals set `received`. Only the main thread gets signals: in another, nothing happens."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._at_once = False
        self._process = os.getpid()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _NAMES:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, signal.SIG_DFL if previous is None else previous)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a forked loader worker: the loop in the parent decides
        again = self.received is not None
        self.received = _NAMES[signal.Signals(number)]
        if again or self._at_once:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it, the first signal raises KeyboardInterrupt."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False
