"""When checkpoints are saved.

A fast epoch and a slow disk must not end in a run that mostly saves: the checkpoint after an epoch is left out where
saving would cost more than 5% of the time. Those asked for by steps or minutes, and the last one, are always saved.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from polysense.training.callbacks.base import Callback
from polysense.training.meter import Record
from polysense.training.run import Run

__all__ = ["Checkpointing"]

_SHARE = 0.05


class Checkpointing(Callback):
    """Saves "best" when a validation improves, "last" after epochs and, within them, by steps and minutes."""

    def __init__(self, every_steps: int | None = None, every_minutes: float | None = None) -> None:
        self._every_steps = every_steps
        self._every_seconds = None if every_minutes is None else 60 * every_minutes
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def on_start(self, run: Run) -> None:
        """The clock starts."""
        self._saved_at = time.monotonic()

    def on_step(self, run: Run) -> None:
        """Saves if it is time."""
        by_steps = self._every_steps is not None and run.global_step % self._every_steps == 0
        if by_steps or (self._every_seconds is not None and time.monotonic() - self._saved_at >= self._every_seconds):
            self._save(run)

    def on_validation(self, run: Run, metrics: Mapping[str, float]) -> None:
        """Keeps the best weights, which are on disk at the latest when "last" is."""
        if run.improved:
            run.save("best")

    def on_epoch(self, run: Run, record: Record) -> None:
        """Saves, unless that would be most of the work."""
        if run.finished or time.monotonic() - self._saved_at >= self._cost / _SHARE:
            self._save(run)

    def _save(self, run: Run) -> None:
        start = time.monotonic()
        run.save("last")
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - start
