"""log.jsonl: one JSON object per line, flushed, so that it can be read while the run goes on.

    {"event": "start", "epochs", "steps_per_epoch", "total_steps", "batch_size", "parameters", "time"}
    {"event": "resume", ... the same ..., "epoch", "step"}
    {"event": "step", "epoch", "step", "lr", "seconds", "loss", "heads": {head: loss}, "grad_norm",
     "samples_per_second", "input_tokens_per_second", "target_tokens_per_second", "padding"}
    {"event": "epoch", "epoch", "step", "lr", "seconds", "loss", "heads", "validation": {"head/metric": value} or null,
     "best", and "balance" if the columns are balanced: by column (and "all columns") the losses' weights or the mean
     factors of the gradients, or which encoders were trained}
    {"event": "end", "monitor", "best_value", "best_epoch", "epochs", "steps", "seconds", "samples_per_second",
     "stop_reason", "time"}

`epoch` counts from 1, `step` over the whole run, `seconds` over all resumptions; `steps_per_epoch` is of the epoch that
begins, since with a token budget they differ. Tokens are those of text, and of audio in units of 1/25 s; `padding` is
the share of those in the batches, inputs and texts to be written, that was padding. What is not finite is null. A run
that was killed and resumed writes the steps after its checkpoint twice: the later line counts.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from polysense.core.json import json_text
from polysense.training.callbacks.base import Callback
from polysense.training.meter import Record
from polysense.training.run import Run, TrainResult

__all__ = ["JsonlLog"]


class JsonlLog(Callback):
    """Writes log.jsonl."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def on_start(self, run: Run) -> None:
        """Opens the file; a resumed run appends."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        cut = False
        if run.resumed and self._path.is_file() and self._path.stat().st_size:
            with self._path.open("rb") as file:  # a killed run may have left half a line
                file.seek(-1, os.SEEK_END)
                cut = file.read(1) != b"\n"
        self._file = self._path.open("a" if run.resumed else "w", encoding="utf-8")
        if cut:
            self._file.write("\n")
        facts = {
            "epochs": run.config.epochs,
            "steps_per_epoch": run.steps_per_epoch,
            "total_steps": run.total_steps,
            "batch_size": run.config.batch_size,
            "parameters": run.num_parameters,
            "time": _now(),
        }
        if run.resumed:
            self._write("resume", facts | {"epoch": run.epoch + 1, "step": run.global_step})
        else:
            self._write("start", facts)

    def on_log(self, run: Run, record: Record) -> None:
        """Writes a step's line."""
        place = {"epoch": run.epoch + 1, "step": run.global_step, "lr": run.lr, "seconds": run.seconds}
        self._write("step", place | vars(record))

    def on_epoch(self, run: Run, record: Record) -> None:
        """Writes an epoch's line."""
        self._write("epoch", run.history[-1])

    def on_end(self, run: Run, result: TrainResult) -> None:
        """Writes the last line."""
        facts = {name: fact for name, fact in vars(result).items() if name != "history"}
        self._write("end", facts | {"time": _now()})

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, event: str, facts: dict[str, Any]) -> None:
        assert self._file is not None, "on_start was not called"
        self._file.write(json_text({"event": event} | facts) + "\n")
        self._file.flush()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
