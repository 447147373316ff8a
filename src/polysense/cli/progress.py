"""How far a prediction has come: a bar on a terminal, a line now and then elsewhere (a log file wants no bar)."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from polysense.cli import console

__all__ = ["rows_done"]

_SECONDS_BETWEEN_LINES = 30.0
_REDRAWS_PER_SECOND = 2


@contextlib.contextmanager
def rows_done(what: str, unit: str = "rows") -> Iterator[Callable[[int, int], None] | None]:
    """Shows on stderr how many rows are done; nothing of it stays on a terminal.

    Args:
        what: What is done to them: "predicting".
        unit: What is counted, where it is not rows.

    Yields:
        To be called with the rows that are done and the rows there are; None where the user wants quiet.
    """
    if console.is_quiet():
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        with Progress(
            TextColumn(what),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            refresh_per_second=_REDRAWS_PER_SECOND,
            transient=True,
        ) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _Lines(what, unit)


class _Lines:
    def __init__(self, what: str, unit: str) -> None:
        self._what, self._unit = what, unit
        self._start = self._updated_at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._updated_at >= _SECONDS_BETWEEN_LINES:
            rate = done / (now - self._start)
            console.write_error(f"{self._what}: {done:,} of {total:,} {self._unit}, {rate:,.1f} {self._unit}/s")
            self._updated_at = now
