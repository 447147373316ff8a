"""What the callbacks see of a run, and what comes out of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from polysense.training.config import TrainingConfig
from polysense.training.monitor import Monitor

__all__ = ["Run", "TrainResult", "advice_on"]

_EARLY_SHARE = 0.25
_FEWEST_EPOCHS = 4


@dataclass(kw_only=True, eq=False)
class Run:
    """A run under way. Callbacks read it, may call `save` and `stop`, and change nothing.

    Attributes:
        config: The run's settings; `epochs` are those that are planned.
        folder: The run's folder.
        monitor: What was best so far.
        steps: Optimization steps in each epoch.
        num_parameters: Trainable numbers in the model.
        judged: The part of the delivered model that validations judge, in words, plural; "" where it is all of it.
        save: Writes the checkpoint "last" (everything that resuming needs) or "best" (the weights that were validated).
        epoch: Epochs done.
        step: Steps done in the epoch under way.
        steps_here: Steps done since this process started or resumed the run.
        samples: Rows trained on, in all processes and over all resumptions.
        seconds: Time spent training and validating, over all resumptions.
        training_seconds: Time spent training alone, over all resumptions.
        lr: The learning rate of the last step.
        improved: Whether the last validation was the best so far.
        resumed: Whether the run was resumed.
        stop_reason: Why the run ends before its last epoch, if it does.
        all_steps: Those in each epoch that was asked for; `steps` are fewer where time is short.
        history: One record per epoch: epoch, step, loss, heads, lr, seconds, validation (or None), best; and balance,
            if the columns are balanced.
    """

    config: TrainingConfig
    folder: Path
    monitor: Monitor
    steps: Sequence[int]
    num_parameters: int
    save: Callable[[str], Path]
    judged: str = ""
    epoch: int = 0
    step: int = 0
    steps_here: int = 0
    samples: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    lr: float = 0.0
    improved: bool = False
    resumed: bool = False
    stop_reason: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert len(self.steps) == self.config.epochs, f"{len(self.steps)} epochs have steps, not {self.config.epochs}"
        self.all_steps: Sequence[int] = self.steps
        self.plan(self.steps)

    def plan(self, steps: Sequence[int]) -> None:
        """Sets the steps of each epoch that the run is going to have."""
        self.steps, self.config = steps, replace(self.config, epochs=len(steps))
        self._before = [0, *itertools.accumulate(self.steps)]

    @property
    def steps_per_epoch(self) -> int:
        """Optimization steps of the epoch under way; after the last one, of that."""
        return self.steps[min(self.epoch, len(self.steps) - 1)] if self.steps else 0

    @property
    def global_step(self) -> int:
        """Steps done over the whole run."""
        return self._before[min(self.epoch, len(self.steps))] + self.step

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, if it isn't stopped early."""
        return self._before[-1]

    @property
    def formatted_steps(self) -> str:
        """The steps of an epoch in words; of a token budget they differ a little."""
        least, most = min(self.steps, default=0), max(self.steps, default=0)
        return f"{least}" if least == most else f"{least} to {most}"

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.epoch >= self.config.epochs or self.stop_reason is not None

    def stop(self, reason: str) -> None:
        """Ends the run after this epoch."""
        self.stop_reason = reason


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What came out of a run.

    Attributes:
        monitor: What picked the weights: a validation metric, or the mean of several.
        monitored: These metrics; none before the first validation.
        best_value: Its value at the best epoch; None without a validation.
        judged: What it is the value of, as in `Run`.
        best_epoch: The best epoch, from 1; None without a validation. The model has its weights.
        epochs: Epochs trained, over all resumptions.
        steps: Optimization steps, over all resumptions.
        seconds: Time spent training and validating, over all resumptions.
        samples_per_second: Rows per second of training alone, over all processes and resumptions.
        stop_reason: Why training ended before its last epoch, if it did.
        advice: What the best epoch's place says, see `advice_on`; None where it says nothing.
        history: One record per epoch, as in `Run`.
    """

    monitor: str
    monitored: tuple[str, ...]
    best_value: float | None
    judged: str
    best_epoch: int | None
    epochs: int
    steps: int
    seconds: float
    samples_per_second: float
    stop_reason: str | None
    advice: str | None
    history: list[dict[str, Any]]


def advice_on(best_epoch: int | None, epochs: int) -> str | None:
    """What the best epoch's place among all says: the run was too short, or it overfits.

    Args:
        best_epoch: From 1; None without a validation.
        epochs: Of the whole run, whether it was stopped early or not.
    """
    if best_epoch is None or epochs < _FEWEST_EPOCHS:
        return None
    if best_epoch == epochs:
        return f"the best epoch was the last of {epochs}: train longer, for example with training.epochs={2 * epochs}"
    if best_epoch <= _EARLY_SHARE * epochs:
        return (
            f"best at epoch {best_epoch} of {epochs}: it overfits from there on, so more epochs don't help; more rows "
            "would, more augmentation, more dropout or a smaller model.width may"
        )
    return None
