"""TensorBoard's event files (+4 to 6 MiB of memory)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polysense.core.files import write_bytes
from polysense.core.json import JsonValue
from polysense.training.callbacks.base import Callback
from polysense.training.meter import Record
from polysense.training.run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Samples", "TensorBoard"]

_EVENTS = "events.out.tfevents.*"


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """Some rows of a validation.

    Attributes:
        texts: By name what should come out and what came out, as Markdown.
        images: By name an image of an input, uint8 [height, width, 3].
    """

    texts: Mapping[str, str]
    images: Mapping[str, np.ndarray]


class TensorBoard(Callback):
    """Writes losses, learning rate, validation metrics and samples for TensorBoard.

    Attributes:
        samples: Gives the rows of the last validation; None where none are shown.
    """

    saved_as = "tensorboard"

    def __init__(self, folder: Path) -> None:
        self.samples: Callable[[], Samples] | None = None
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._size: int | None = None
        self._earlier: Path | None = None

    def state(self) -> JsonValue:
        """How many bytes of events there are."""
        if self._writer is not None:
            self._writer.flush()
        files = _files(self._folder)
        return sum(path.stat().st_size for path in files) - sum(_first_record(path) for path in files[1:])

    def load_state(self, state: Any) -> None:
        """Takes up what `state` gave."""
        self._size = state

    def on_start(self, run: Run) -> None:
        """Opens an event file; a resumed run's earlier events that its checkpoint knows of are brought into one."""
        if run.resumed:
            events = _events(self._folder)
            if events:
                self._earlier = next(iter(events))
                _write_events(self._earlier, b"".join(events.values())[: self._size], [*events][1:])
        if run.resumed and run.finished:
            return  # complete
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder))

    def on_log(self, run: Run, record: Record) -> None:
        """Writes the training curves."""
        values = {"loss": record.loss, "lr": run.lr, "samples_per_second": record.samples_per_second}
        if record.input_tokens_per_second or record.target_tokens_per_second:
            values |= {
                "input_tokens_per_second": record.input_tokens_per_second,
                "target_tokens_per_second": record.target_tokens_per_second,
                "padding": record.padding,
            }
        if run.config.clip_norm is not None:
            values["grad_norm"] = record.grad_norm
        if len(record.heads) > 1:
            values |= {f"loss/{head}": value for head, value in record.heads.items()}
        self._write("train", values, run.global_step)

    def on_validation(self, run: Run, metrics: Mapping[str, float]) -> None:
        """Writes the validation metrics and what came out for a few rows."""
        self._write("validation", metrics, run.global_step)
        if self.samples is not None and self._writer is not None:
            listed = self.samples()
            for name, content in listed.texts.items():
                self._writer.add_text(f"samples/{name}", content, run.global_step)
            for name, image in listed.images.items():
                self._writer.add_image(f"samples/{name}", image, run.global_step, dataformats="HWC")

    def close(self) -> None:
        """Closes the event file; a resumed run's events end up in one."""
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        if self._earlier is not None:
            events = _events(self._folder)
            later = [path for path in events if path != self._earlier]
            content = b"".join([events.pop(self._earlier, b""), *events.values()])
            _write_events(self._earlier, content, later)

    def _write(self, group: str, values: Mapping[str, float], step: int) -> None:
        assert self._writer is not None, "on_start was not called"
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)


def _events(folder: Path) -> dict[Path, bytes]:
    """The event files' content, the oldest first; of the later ones without the record that every file begins with."""
    files = _files(folder)
    return {path: path.read_bytes()[_first_record(path) if path != files[0] else 0 :] for path in files}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(_EVENTS), key=lambda path: (path.stat().st_mtime_ns, path.name))


def _first_record(path: Path) -> int:
    """Bytes of a file's first TFRecord: its length, two checksums and the data."""
    with path.open("rb") as file:
        start = file.read(8)
    return int.from_bytes(start, "little") + 16 if len(start) == 8 else 0


def _write_events(path: Path, content: bytes, others: Sequence[Path]) -> None:
    """Makes one event file of several."""
    if others or path.stat().st_size != len(content):
        write_bytes(path, content)
    for other in others:
        other.unlink()
