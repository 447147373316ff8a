"""Callback: the points at which something periodic can hook into the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polysense.core.json import JsonValue
from polysense.training.meter import Record
from polysense.training.run import Run, TrainResult

__all__ = ["Callback"]


class Callback:
    """Does nothing; a subclass overrides what it cares for.

    Attributes:
        every_process: Whether it is called in every process, where it must do the same; else only in the main one.
        saved_as: The name under which a checkpoint holds its state; None if it has none.
    """

    every_process = False
    saved_as: str | None = None

    def state(self) -> JsonValue:
        """What a checkpoint that is about to be written must remember of it; what it wrote must be on the disk."""
        return None

    def load_state(self, state: Any) -> None:
        """Takes up what `state` gave, before `on_start`."""

    def on_start(self, run: Run) -> None:
        """Before the first step, after a checkpoint was loaded."""

    def on_plan(self, run: Run, text: str) -> None:
        """Once, when the pace is known: `text` says how long training will take, and what fits into its time."""

    def on_step(self, run: Run) -> None:
        """After each step. Keep it to a microsecond or so."""

    def on_log(self, run: Run, record: Record) -> None:
        """Every `log_every` steps, and at the end of an epoch if steps are left over."""

    def on_validation(self, run: Run, metrics: Mapping[str, float]) -> None:
        """After a validation; `run.monitor` has taken it in, and `run.improved` says whether it was the best."""

    def on_epoch(self, run: Run, record: Record) -> None:
        """After each epoch and its validation; `run.epoch` counts it in, `run.history[-1]` is its record."""

    def on_end(self, run: Run, result: TrainResult) -> None:
        """After the last epoch, when the best weights are back in the model."""

    def close(self) -> None:
        """Always, also after an error: closes files."""
