"""TensorBoard's event files (+4 to 6 MiB of memory)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polysense.training.callbacks.base import Callback
from polysense.training.meter import Record
from polysense.training.run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Samples", "TensorBoard"]


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

    def __init__(self, folder: Path) -> None:
        self.samples: Callable[[], Samples] | None = None
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def on_start(self, run: Run) -> None:
        """Opens the event file; what a killed run wrote after its checkpoint is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        purge = run.global_step + 1 if run.resumed else None
        self._writer = SummaryWriter(str(self._folder), purge_step=purge)

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
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, group: str, values: Mapping[str, float], step: int) -> None:
        assert self._writer is not None, "on_start was not called"
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
