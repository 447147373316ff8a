"""How long a preset trains, in which steps, and when it stops: functions of the training rows alone.

What a network learns takes optimizer steps, some hundred for numbers and some thousand for pictures and sounds, however
few the rows are. So the fewer rows there are, the smaller are the batches and the more are the epochs. Those are an
upper bound: training stops once validation rows have said for a quarter of the run that it gets no better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from polysense.training.config import TrainingConfig
from polysense.training.optimizers import AdamWConfig

__all__ = ["Length", "training_of"]

_BATCHES = ((2_000, 16), (10_000, 32))
_LARGEST_BATCH = 64
_RATE, _RATE_OF_BATCH = 2e-3, 32
_SMALL_TABLE, _LOWER_RATE = 5_000, 1e-3
_PATIENCE_SHARE, _PATIENCE_STEPS, _SHORTEST_PATIENCE = 0.25, 150, 3


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long a preset trains.

    Attributes:
        samples: Training rows seen in all, each as often as there are epochs.
        most_epochs: But no more epochs than these,
        fewest_epochs: no fewer than these,
        fewest_steps: and no fewer optimizer steps than these, whatever the epochs.
    """

    samples: int
    most_epochs: int
    fewest_epochs: int
    fewest_steps: int


def training_of(num_rows: int, length: Length, *, ema: float | None) -> TrainingConfig:
    """Batch size, learning rate, epochs and early stopping.

    Args:
        num_rows: Training rows.
        length: Of the preset.
        ema: training.ema.
    """
    num_rows = max(num_rows, 1)
    batch_size = next((size for most, size in _BATCHES if num_rows <= most), _LARGEST_BATCH)
    steps_per_epoch = math.ceil(num_rows / batch_size)
    epochs = min(max(round(length.samples / num_rows), length.fewest_epochs), length.most_epochs)
    epochs = max(epochs, math.ceil(length.fewest_steps / steps_per_epoch))
    patience = max(
        math.ceil(_PATIENCE_SHARE * epochs), math.ceil(_PATIENCE_STEPS / steps_per_epoch), _SHORTEST_PATIENCE
    )
    rate = (
        _LOWER_RATE if num_rows > _SMALL_TABLE else _RATE * math.sqrt(min(batch_size, _RATE_OF_BATCH) / _RATE_OF_BATCH)
    )
    return TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        # Two digits: a person reads it.
        optimizer=AdamWConfig(lr=float(f"{rate:.1e}")),
        early_stopping=patience,
        ema=ema,
    )
