"""The run on the screen: a bar on a terminal, a line per epoch elsewhere (a log file wants no bar)."""

from __future__ import annotations

import logging
import math
import sys
import textwrap
import time
from typing import TYPE_CHECKING, TextIO

from polysense.core.logs import get_logger
from polysense.escaping import visible
from polysense.training.callbacks.base import Callback
from polysense.training.meter import Record
from polysense.training.run import Run, TrainResult

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressBar", "epoch_line"]

# A bar is redrawn by a thread that takes the interpreter from the loop: twice a second is smooth enough.
_REDRAWS_PER_SECOND = 2
_SECONDS_BETWEEN_LINES = 30.0
_WIDTH = 80


class ProgressBar(Callback):
    """Shows loss, main metric and time left; rates and the validation loss too where polysense's log is detailed."""

    def __init__(self) -> None:
        self._stream: TextIO = sys.stderr
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._clock = _Clock()
        self._updated_at = 0.0
        self._loss = self._rate = self._tokens = 0.0

    def on_start(self, run: Run) -> None:
        """Draws the bar, or writes the first line."""
        self._stream = sys.stderr  # standard output is for results
        self._clock = _Clock()
        self._updated_at = time.monotonic()
        if run.finished:
            return
        if not self._stream.isatty():
            what = f"resuming at epoch {run.epoch + 1}, step {run.step}" if run.resumed else "training"
            self._line(
                f"{what}: {run.config.epochs} epochs of {run.formatted_steps} steps, {run.num_parameters:,} parameters"
            )
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=Console(file=self._stream),
            refresh_per_second=_REDRAWS_PER_SECOND,
        )
        self._task = self._bar.add_task("", total=run.total_steps, completed=run.global_step, epoch="")
        self._bar.start()
        self._show(run)

    def on_plan(self, run: Run, text: str) -> None:
        """One line; the bar gets its new end."""
        if self._bar is None or self._task is None:
            self._line(text)
        else:
            self._bar.console.print(visible(text), markup=False, highlight=False)
            self._bar.update(self._task, total=run.total_steps)

    def on_step(self, run: Run) -> None:
        """Moves the bar, at most twice a second."""
        if time.monotonic() - self._updated_at >= 1 / _REDRAWS_PER_SECOND:
            self._show(run)

    def on_log(self, run: Run, record: Record) -> None:
        """Takes the numbers."""
        self._loss, self._rate = record.loss, record.samples_per_second
        self._tokens = record.input_tokens_per_second + record.target_tokens_per_second

    def on_epoch(self, run: Run, record: Record) -> None:
        """One line for the epoch, above the bar if there is one."""
        details = _is_detailed()
        left = self._clock.left(run)
        line = epoch_line(run, details=details)
        line += f"  {record.rate}" if details else ""
        line += f"  {duration(left)} left" if left and not run.finished else ""
        if self._bar is None:
            self._line(line)
        else:
            self._bar.console.print(visible(line), markup=False, highlight=False)
            self._show(run)

    def on_end(self, run: Run, result: TrainResult) -> None:
        """How it ended."""
        self.close()
        if not run.steps_here:
            return
        best = (
            f"; best {run.monitor.short_label}{_of(result)} {result.best_value:.4g} after epoch {result.best_epoch}"
            if result.best_epoch
            else ""
        )
        why = f" ({result.stop_reason})" if result.stop_reason else ""
        rate = f", {result.samples_per_second:,.0f} samples/s" if _is_detailed() else ""
        self._line(f"trained {result.epochs} epochs{why} in {duration(result.seconds)}{rate}{best}")
        if result.advice is not None:
            self._line(result.advice)

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, run: Run) -> None:
        now = time.monotonic()
        left = self._clock.left(run)
        parts = [f"loss {self._loss:.4g}"] if self._rate else []
        if run.monitor.value is not None:
            parts.append(f"{run.monitor.short_label} {run.monitor.value:.4g}")
        if _is_detailed():
            parts += [f"{self._rate:,.0f}/s"] if self._rate else []
            parts += [f"{self._tokens:,.0f} tokens/s"] if self._tokens else []
        parts += [f"{duration(left)} left"] if left else []
        if self._bar is not None and self._task is not None:
            epoch = f"epoch {min(run.epoch + 1, run.config.epochs)}/{run.config.epochs}"
            # Not markup: a column may be named [bold].
            description = visible("  ".join(parts)).replace("[", "\\[")
            self._bar.update(self._task, completed=run.global_step, description=description, epoch=epoch)
            self._updated_at = now
        elif now - self._updated_at >= _SECONDS_BETWEEN_LINES:
            self._line(
                f"epoch {run.epoch + 1}/{run.config.epochs}, step {run.step}/{run.steps_per_epoch}  {'  '.join(parts)}"
            )

    def _line(self, text: str) -> None:
        self._stream.write("".join(f"{line}\n" for line in textwrap.wrap(visible(text), _WIDTH)))
        self._stream.flush()
        self._updated_at = time.monotonic()


class _Clock:
    """How long the rest will take, from the steps of this process alone."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def left(self, run: Run) -> float | None:
        """Seconds, None before the first step."""
        if not run.steps_here:
            return None
        return (time.monotonic() - self._start) / run.steps_here * (run.total_steps - run.global_step)


def epoch_line(run: Run, *, details: bool = True) -> str:
    """The last epoch in one line.

    Args:
        run: Under way.
        details: Whether the validation loss and the metric's whole name stand in it.
    """
    record = run.history[-1]
    parts = [f"epoch {record['epoch']}/{run.config.epochs}", f"loss {record['loss']:.4g}"]
    validation = record["validation"]
    if details and validation is not None and math.isfinite(validation.get("loss", math.nan)):
        parts.append(f"validation loss {validation['loss']:.4g}")
    if validation is not None and run.monitor.value is not None:
        name = run.monitor.label if details else run.monitor.short_label
        parts.append(f"{name} {run.monitor.value:.4g}{' (best)' if run.improved else ''}")
    return "  ".join(parts)


def _of(result: TrainResult) -> str:
    return f" of {result.judged}" if result.judged else ""


def _is_detailed() -> bool:
    """Whether details are asked for (-v)."""
    return get_logger("polysense").isEnabledFor(logging.DEBUG)


def duration(seconds: float) -> str:
    """1:02:03, or 2:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
