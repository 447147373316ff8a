"""log.jsonl: one JSON object per line, flushed, so that it can be read while the run goes on.

    {"event": "start", "epochs", "steps_per_epoch", "total_steps", "batch_size", "parameters", "time"}
    {"event": "resume", ... the same ..., "epoch", "step"}
    {"event": "step", "epoch", "step", "lr", "seconds", "loss", "heads": {head: loss}, "grad_norm",
     "samples_per_second", "input_tokens_per_second", "target_tokens_per_second", "padding"}
    {"event": "epoch", "epoch", "step", "lr", "seconds", "loss", "heads", "validation": {"head/metric": value} or null,
     "best", and "balance" if the columns are balanced: by column (and "all columns") the losses' weights or the mean
     factors of the gradients, or which encoders were trained}
    {"event": "end", "monitor", "best_value", "judged", "best_epoch", "epochs", "steps", "seconds",
     "samples_per_second", "stop_reason", "advice", "time"}

`loss` in "validation" is the same weighted sum of the same losses as the training loss beside it, which is a mean over
the epoch's steps, with dropout, augmentation and masked cells; in validation there is none of these.

`judged` names the part of the delivered model that validations judge, such as "the networks", if simple models are
fitted beside them after the last epoch; "" if it is the whole model.

`epoch` counts from 1, `step` over the whole run, `seconds` over all resumptions; `steps_per_epoch` is of the epoch that
begins, since with a token budget they differ. Tokens are those of text, and of audio in units of 1/25 s; `padding` is
the share of those in the batches, inputs and texts to be written, that was padding. What is not finite is null. A run
that was stopped and resumed leaves the lines of one that was not; "resume" is there only if it was resumed with other
settings, such as more epochs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polysense.core.json import JsonValue, json_text, parse_json
from polysense.core.log_file import LogFile
from polysense.training.callbacks.base import Callback
from polysense.training.meter import Record
from polysense.training.run import Run, TrainResult

__all__ = ["JsonlLog"]


class JsonlLog(Callback):
    """Writes log.jsonl."""

    saved_as = "log.jsonl"

    def __init__(self, path: Path) -> None:
        self._file = LogFile(path)
        self._started: dict[str, Any] = {}

    def state(self) -> JsonValue:
        """How many lines it has, and what the run was started with."""
        return {"lines": self._file.sync(), "started": self._started}

    def load_state(self, state: Any) -> None:
        """Takes up what `state` gave."""
        self._file.num_lines, self._started = state["lines"], state["started"]

    def on_start(self, run: Run) -> None:
        """Opens the file; a resumed run appends to what its checkpoint knows of."""
        if run.resumed and run.finished and [_event(line) for line in self._file.tail()] == ["end"]:
            return  # complete
        self._file.open(resumed=run.resumed)
        facts = {
            "epochs": run.config.epochs,
            "steps_per_epoch": run.steps[0] if run.steps else 0,
            "total_steps": run.total_steps,
            "batch_size": run.config.batch_size,
            "parameters": run.num_parameters,
        }
        if not run.resumed:
            self._write("start", facts | {"time": _now()})
        elif facts != self._started:
            place = {"steps_per_epoch": run.steps_per_epoch, "epoch": run.epoch + 1, "step": run.global_step}
            self._write("resume", facts | place | {"time": _now()})
        self._started = facts

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
        self._file.close()

    def _write(self, event: str, facts: dict[str, Any]) -> None:
        if self._file.is_open:
            self._file.write(json_text({"event": event} | facts))


def _event(line: str) -> str:
    try:
        return str(parse_json(line, dict).get("event"))
    except ValueError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
