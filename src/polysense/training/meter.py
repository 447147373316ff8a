"""Losses and rates, read from the device only every few steps.

Reading one number waits for everything that the GPU has still to do, so a step's numbers stay where they are until a
record is due. Until then the rows of those steps are remembered as well, so that a loss that is not finite can be
traced to them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from polysense.data.batches.token_counts import TokenCount
from polysense.training.distributed import Distributed
from polysense.training.step import not_finite

__all__ = ["Meter", "Record"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was seen over some steps.

    Attributes:
        loss: The weighted sum of all losses.
        heads: Each loss's mean, by target, or by objective; NaN if no row counted for it.
        grad_norm: The mean norm of the gradient before clipping; 0 if it isn't clipped.
        samples_per_second: Rows per second in all processes together.
        input_tokens_per_second: Likewise tokens of text, and of audio in units of 1/25 s; 0 where nobody counts them.
        target_tokens_per_second: Likewise tokens of texts to be written.
        padding: The share of the text and audio in the batches, inputs and targets, that was padding.
    """

    loss: float
    heads: Mapping[str, float]
    grad_norm: float
    samples_per_second: float
    input_tokens_per_second: float = 0.0
    target_tokens_per_second: float = 0.0
    padding: float = 0.0

    @property
    def rate(self) -> str:
        """How fast it went, in words."""
        text = f"{self.samples_per_second:,.0f} samples/s"
        tokens = self.input_tokens_per_second + self.target_tokens_per_second
        if tokens:
            generated = f" ({self.target_tokens_per_second:,.0f} generated)" if self.target_tokens_per_second else ""
            text += f"  {tokens:,.0f} tokens/s{generated}  {self.padding:.0%} padding"
        return text


@dataclass
class _Work:
    """What was trained on in some seconds, in this process."""

    seconds: float = 0.0
    samples: int = 0
    inputs: float = 0.0
    targets: float = 0.0
    padded: float = 0.0
    valid: float = 0.0

    def add(self, other: _Work) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Meter:
    """Sums over the steps since the last record and over the epoch."""

    def __init__(self, loss_weights: Mapping[str, float], distributed: Distributed, device: torch.device) -> None:
        self._weights, self._distributed, self._device = dict(loss_weights), distributed, device
        self._pending: list[Tensor] = []
        self._origins: list[tuple[int, int, float, list[Tensor]]] = []
        width = 2 * len(self._weights) + 1
        self._recent, self._recent_steps = [0.0] * width, 0
        self._epoch, self._epoch_steps = [0.0] * width, 0
        self._work, self._epoch_work, self._since = _Work(), _Work(), time.perf_counter()

    def add(
        self,
        seen: Tensor,
        epoch: int,
        step: int,
        lr: float,
        rows: Sequence[Tensor],
        tokens: Sequence[TokenCount] = (),
    ) -> None:
        """Takes in what a step returned.

        Args:
            seen: [2 * heads + 1] summed losses, counts, norm; stays on its device.
            epoch: From 0.
            step: Within the epoch, from 0.
            lr: The step's learning rate.
            rows: The rows of each micro-batch, in main memory.
            tokens: The tokens of each micro-batch, where they are counted.
        """
        self._pending.append(seen)
        self._origins.append((epoch, step, lr, list(rows)))
        work = self._work
        work.samples += sum(len(part) for part in rows)
        for count in tokens:
            work.inputs += count.inputs
            work.targets += count.targets
            work.padded += count.padded
            work.valid += count.valid

    def settle(self) -> None:
        """Reads what is still on the device.

        Raises:
            TrainingError: Some loss or gradient is not finite.
        """
        if not self._pending:
            return
        num_heads = len(self._weights)
        for values, (epoch, step, lr, rows) in zip(torch.stack(self._pending).tolist(), self._origins, strict=True):
            for i, value in enumerate(values):
                if not math.isfinite(value):
                    what = f"the loss of {list(self._weights)[i]!r}" if i < num_heads else "the gradient"
                    raise not_finite(what, value, epoch, step, [r for part in rows for r in part.tolist()], lr)
                self._recent[i] += value
                self._epoch[i] += value
            self._recent_steps += 1
            self._epoch_steps += 1
        self._pending.clear()
        self._origins.clear()

    def recent(self) -> Record:
        """The steps since the last call."""
        self.settle()
        now = time.perf_counter()
        self._work.seconds += now - self._since
        self._epoch_work.add(self._work)
        record = self._summarize(self._recent, self._recent_steps, self._work)
        self._recent, self._recent_steps = [0.0] * len(self._recent), 0
        self._work, self._since = _Work(), now
        return record

    def epoch(self) -> Record:
        """The steps since the epoch began; starts the next one. Its rates are those of its calls of `recent`."""
        self.settle()
        record = self._summarize(self._epoch, self._epoch_steps, self._epoch_work)
        self._epoch, self._epoch_steps = [0.0] * len(self._epoch), 0
        self._epoch_work = _Work()
        return record

    def restart_clock(self) -> None:
        """Leaves what has happened since the last step (validation, a checkpoint) out of the rate."""
        self._since = time.perf_counter()

    def _summarize(self, sums: Sequence[float], steps: int, work: _Work) -> Record:
        num_heads = len(self._weights)
        totals, counts, norm = list(sums[:num_heads]), sums[num_heads : 2 * num_heads], sums[-1]
        if self._distributed.world_size > 1:  # counts are global already
            totals = self._distributed.sum(torch.tensor(totals, device=self._device)).tolist()
        heads = {
            head: total / count if count > 0 else math.nan
            for head, total, count in zip(self._weights, totals, counts, strict=True)
        }
        loss = sum(self._weights[head] * value for head, value in heads.items() if not math.isnan(value))
        # Peers have batches of about the same size: asking them would cost a message.
        per_second = self._distributed.world_size / max(1e-9, work.seconds)
        return Record(
            loss=loss,
            heads=heads,
            grad_norm=norm / max(1, steps),
            samples_per_second=work.samples * per_second,
            input_tokens_per_second=work.inputs * per_second,
            target_tokens_per_second=work.targets * per_second,
            padding=1 - work.valid / work.padded if work.padded else 0.0,
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint must remember, so that the epoch's losses are those of an unbroken run."""
        self.settle()
        # Without a step since the last record, the time since then is the validation's.
        seconds = time.perf_counter() - self._since if self._recent_steps else 0.0
        return {
            "recent": self._recent, "recent_steps": self._recent_steps,
            "epoch": self._epoch, "epoch_steps": self._epoch_steps,
            "work": vars(self._work) | {"seconds": self._work.seconds + seconds},
            "epoch_work": vars(self._epoch_work).copy(),
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave. Of several processes only the main one's sums were saved: they start afresh."""
        if self._distributed.world_size > 1 or len(state["epoch"]) != len(self._epoch):
            return
        self._recent, self._recent_steps = list(state["recent"]), state["recent_steps"]
        self._epoch, self._epoch_steps = list(state["epoch"]), state["epoch_steps"]
        self._work, self._epoch_work = _Work(**state["work"]), _Work(**state["epoch_work"])
