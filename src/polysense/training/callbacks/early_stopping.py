"""Early stopping (Prechelt, "Early stopping - but when?", 1998, criterion UP, counted in epochs)."""

from __future__ import annotations

from collections.abc import Mapping

from polysense.training.callbacks.base import Callback
from polysense.training.run import Run

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """Stops a run whose monitored metric has not improved for `patience` epochs."""

    every_process = True

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_start(self, run: Run) -> None:
        """A resumed run may have been stopped already."""
        validated = [record["epoch"] for record in run.history if record["validation"] is not None]
        if validated and run.step == 0:
            self._judge(run, validated[-1])

    def on_validation(self, run: Run, metrics: Mapping[str, float]) -> None:
        """Counts the epochs since the best one."""
        self._judge(run, run.epoch + 1)

    def _judge(self, run: Run, epoch: int) -> None:
        best = run.monitor.best
        if best is not None and epoch - best.epoch >= self._patience and epoch < run.config.epochs:
            run.stop(f"{run.monitor.label} has not improved for {epoch - best.epoch} epochs")
