"""train.log: what polysense's loggers say during a run, with the time.

It is the log of the run that was not stopped: what is said of a resumption itself goes to the terminal alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polysense.core.json import JsonValue
from polysense.core.log_file import LogFile
from polysense.core.logs import get_logger
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.progress import epoch_line
from polysense.training.meter import Record
from polysense.training.run import Run, TrainResult

__all__ = ["RESUME_LOGGER", "TextLog", "logged_afterwards"]

RESUME_LOGGER = "polysense.training.resume"
"""The logger of messages that a run would not give if it had not been stopped."""

_FINISHED = "finished after"

_LOG = get_logger("polysense.training")
_RESUME_LOG = get_logger(RESUME_LOGGER)


class TextLog(Callback):
    """Writes every message of level INFO and above to a file while the run lasts."""

    saved_as = "train.log"

    def __init__(self, path: Path) -> None:
        self._file = LogFile(path)
        self._listener: _Listener | None = None

    def state(self) -> JsonValue:
        """How many lines it has."""
        return self._file.sync()

    def load_state(self, state: Any) -> None:
        """Takes up what `state` gave."""
        self._file.num_lines = state

    def on_start(self, run: Run) -> None:
        """Opens the file and listens."""
        what = (
            f"{run.config.epochs} epochs of {run.formatted_steps} steps, batch size {run.config.batch_size}, "
            f"{run.num_parameters:,} trainable parameters"
        )
        if run.resumed and run.finished and self._file.tail():
            return  # complete
        if run.resumed and not run.finished:
            _RESUME_LOG.info("resumed at epoch %d, step %d: %s", run.epoch + 1, run.step, what)
        self._file.open(resumed=run.resumed)
        self._listener = _Listener(self._file)
        if not run.resumed and not run.finished:
            _LOG.info("started: %s", what)

    def on_plan(self, run: Run, text: str) -> None:
        """What fits into the time; a mere estimate is of this process, and a resumed run's log would have two."""
        if run.config.time is not None:
            _LOG.info("%s", text)

    def on_epoch(self, run: Run, record: Record) -> None:
        """One line."""
        _LOG.info("%s  %s", epoch_line(run), record.rate)

    def on_end(self, run: Run, result: TrainResult) -> None:
        """How it ended."""
        if not result.steps or self._listener is None:
            return
        why = f" ({result.stop_reason})" if result.stop_reason else ""
        _LOG.info(
            f"{_FINISHED} %d epochs%s, %d steps, %.1f s, %.0f samples/s; best %s%s %s after epoch %s",
            result.epochs, why, result.steps, result.seconds, result.samples_per_second,
            result.monitor, f" of {result.judged}" if result.judged else "", result.best_value, result.best_epoch,
        )  # fmt: skip
        if result.advice is not None:
            _LOG.info("%s", result.advice)

    def close(self) -> None:
        """Stops listening."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._file.close()


@contextmanager
def logged_afterwards(path: Path) -> Iterator[None]:
    """Appends what is said after the training to its log, in place of what an earlier process said of the same.

    What is said again, times aside, keeps the time at which it was said first: a finished run's log stays as it is.

    Args:
        path: train.log; one that does not say that training finished is left alone.
    """
    file = LogFile(path)
    lines = file.tail()
    ends = [i for i, line in enumerate(lines) if f" {_LOG.name}: {_FINISHED}" in line]
    if not ends:
        yield
        return
    file.num_lines = ends[-1] + 1
    while file.num_lines < len(lines) and f" {_LOG.name}: " in lines[file.num_lines]:
        file.num_lines += 1
    earlier = lines[file.num_lines :]
    file.open(resumed=True)
    listener = _Listener(file, earlier)
    try:
        yield
    finally:
        listener.close()
        file.close()


class _Listener:
    """Hands what the loggers say, from INFO on, to a log file until it is closed."""

    def __init__(self, file: LogFile, earlier: Sequence[str] = ()) -> None:
        self._handler = _Handler(file, earlier)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._root = logging.getLogger("polysense")
        self._level = self._root.level
        self._root.addHandler(self._handler)
        if self._root.getEffectiveLevel() > logging.INFO:
            self._root.setLevel(logging.INFO)

    def close(self) -> None:
        """Stops listening."""
        self._root.removeHandler(self._handler)
        self._root.setLevel(self._level)


class _Handler(logging.Handler):
    """Writes to a log file; a full disk ends the run, which can be resumed.

    Args:
        file: The log.
        earlier: Lines that an earlier process wrote in place of what comes now.
    """

    def __init__(self, file: LogFile, earlier: Sequence[str]) -> None:
        super().__init__()
        self._file, self._earlier = file, list(earlier)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == RESUME_LOGGER:
            return
        line, before = self.format(record), self._earlier.pop(0) if self._earlier else ""
        self._file.write(before if _without_times(before) == _without_times(line) else line)


def _without_times(line: str) -> str:
    """A line without when it was said and how long anything took."""
    return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} |\b[\d.,]+ s\b", "", line)
