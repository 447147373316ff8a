"""train.log: what polysense's loggers say during a run, with the time."""

from __future__ import annotations

import logging
from pathlib import Path

from polysense.core.logs import get_logger
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.progress import epoch_line
from polysense.training.meter import Record
from polysense.training.run import Run, TrainResult

__all__ = ["TextLog"]

_LOG = get_logger("polysense.training")


class TextLog(Callback):
    """Writes every message of level INFO and above to a file while the run lasts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handler: logging.FileHandler | None = None
        self._level = logging.NOTSET

    def on_start(self, run: Run) -> None:
        """Opens the file and listens."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = logging.FileHandler(self._path, mode="a" if run.resumed else "w", encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger("polysense")
        self._level = root.level
        root.addHandler(self._handler)
        if root.getEffectiveLevel() > logging.INFO:
            root.setLevel(logging.INFO)
        if run.finished:
            return
        _LOG.info(
            "%s: %d epochs of %s steps, batch size %d, %s trainable parameters",
            f"resumed at epoch {run.epoch + 1}, step {run.step}" if run.resumed else "started",
            run.config.epochs,
            run.formatted_steps,
            run.config.batch_size,
            f"{run.num_parameters:,}",
        )

    def on_epoch(self, run: Run, record: Record) -> None:
        """One line."""
        _LOG.info("%s  %s", epoch_line(run), record.rate)

    def on_end(self, run: Run, result: TrainResult) -> None:
        """How it ended."""
        if not run.steps_here:
            return
        why = f" ({result.stop_reason})" if result.stop_reason else ""
        _LOG.info(
            "finished after %d epochs%s, %d steps, %.1f s, %.0f samples/s; best %s %s after epoch %s",
            result.epochs, why, result.steps, result.seconds, result.samples_per_second,
            result.monitor, result.best_value, result.best_epoch,
        )  # fmt: skip

    def close(self) -> None:
        """Stops listening."""
        if self._handler is not None:
            root = logging.getLogger("polysense")
            root.removeHandler(self._handler)
            root.setLevel(self._level)
            self._handler.close()
            self._handler = None
