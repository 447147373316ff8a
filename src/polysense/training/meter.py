"""Losses and rates, read from the device only every few steps.

Reading one number waits for everything that the GPU has still to do, so a step's numbers stay where they are until a
record is due. Until then the rows of those steps are remembered as well, so that a loss that is not finite can be
traced to them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polysense.training.distributed import Distributed
from polysense.training.step import not_finite

__all__ = ["Meter", "Record"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was seen over some steps.

    Attributes:
        loss: The weighted sum of the heads' losses.
        heads: Each head's mean loss; NaN if no row had its target.
        grad_norm: The mean norm of the gradient before clipping; 0 if it isn't clipped.
        samples_per_second: Rows per second in all processes together.
    """

    loss: float
    heads: Mapping[str, float]
    grad_norm: float
    samples_per_second: float


class Meter:
    """Sums over the steps since the last record and over the epoch."""

    def __init__(self, head_weights: Mapping[str, float], distributed: Distributed, device: torch.device) -> None:
        self._weights, self._distributed, self._device = dict(head_weights), distributed, device
        self._pending: list[Tensor] = []
        self._origins: list[tuple[int, int, float, list[Tensor]]] = []
        width = 2 * len(self._weights) + 1
        self._recent, self._recent_steps = [0.0] * width, 0
        self._epoch, self._epoch_steps = [0.0] * width, 0
        self._samples, self._since = 0, time.perf_counter()

    def add(self, seen: Tensor, epoch: int, step: int, lr: float, rows: Sequence[Tensor]) -> None:
        """Takes in what a step returned.

        Args:
            seen: [2 * heads + 1] summed losses, counts, norm; stays on its device.
            epoch: From 0.
            step: Within the epoch, from 0.
            lr: The step's learning rate.
            rows: The rows of each micro-batch, in main memory.
        """
        self._pending.append(seen)
        self._origins.append((epoch, step, lr, list(rows)))
        self._samples += sum(len(part) for part in rows)

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
        rate = self._samples * self._distributed.world_size / max(1e-9, now - self._since)
        record = self._summarise(self._recent, self._recent_steps, rate)
        self._recent, self._recent_steps = [0.0] * len(self._recent), 0
        self._samples, self._since = 0, now
        return record

    def epoch(self) -> Record:
        """The steps since the epoch began; starts the next one."""
        self.settle()
        record = self._summarise(self._epoch, self._epoch_steps, 0.0)
        self._epoch, self._epoch_steps = [0.0] * len(self._epoch), 0
        return record

    def restart_clock(self) -> None:
        """Leaves what has happened since the last step (validation, a checkpoint) out of the rate."""
        self._since = time.perf_counter()
        self._samples = 0

    def _summarise(self, sums: Sequence[float], steps: int, rate: float) -> Record:
        num_heads = len(self._weights)
        totals, counts, norm = list(sums[:num_heads]), sums[num_heads : 2 * num_heads], sums[-1]
        if self._distributed.world_size > 1:  # counts are global already
            totals = self._distributed.sum(torch.tensor(totals, device=self._device)).tolist()
        heads = {
            head: total / count if count > 0 else math.nan
            for head, total, count in zip(self._weights, totals, counts, strict=True)
        }
        loss = sum(self._weights[head] * value for head, value in heads.items() if not math.isnan(value))
        return Record(loss=loss, heads=heads, grad_norm=norm / max(1, steps), samples_per_second=rate)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must remember, so that the epoch's losses are those of an unbroken run."""
        self.settle()
        return {
            "recent": self._recent, "recent_steps": self._recent_steps,
            "epoch": self._epoch, "epoch_steps": self._epoch_steps,
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave. Of several processes only the main one's sums were saved: they start afresh."""
        if self._distributed.world_size > 1 or len(state["epoch"]) != len(self._epoch):
            return
        self._recent, self._recent_steps = list(state["recent"]), state["recent_steps"]
        self._epoch, self._epoch_steps = list(state["epoch"]), state["epoch_steps"]
