"""Early stopping (Prechelt, "Early stopping - but when?", 1998, criterion UP, counted in epochs), robust to noise.

A few dozen validation rows make a curve that jumps. A single lucky epoch at the start would then stay the best for so
long that training stops while it still learns. So patience counts from the last epoch in which either the score or the
median of three was the best so far: a curve that rises on the whole goes on, whatever one epoch said.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from polysense.training.callbacks.base import Callback
from polysense.training.run import Run

__all__ = ["EarlyStopping", "last_gain"]

_WINDOW = 3


class EarlyStopping(Callback):
    """Stops a run whose monitored metric has not improved for `patience` epochs."""

    every_process = True

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_start(self, run: Run) -> None:
        """A resumed run may have been stopped already."""
        validated = [record["epoch"] for record in run.history if record["validation"] is not None]
        if validated and run.step == 0:
            self._judge(run, validated[-1])

    def on_validation(self, run: Run, metrics: Mapping[str, float]) -> None:
        """Counts the epochs since the best one."""
        self._judge(run, run.epoch + 1)

    def _judge(self, run: Run, epoch: int) -> None:
        gained = last_gain(run.monitor.scores)
        if gained is not None and epoch - gained >= self._patience and epoch < run.config.epochs:
            run.stop(f"{run.monitor.label} has not improved for {epoch - gained} epochs")


def last_gain(scores: Sequence[tuple[int, float]]) -> int | None:
    """The last epoch in which the score or the median of the last three was the best so far; None without a number.

    Args:
        scores: Epochs and scores, of which higher is better; NaN is none.
    """
    known = [(epoch, score) for epoch, score in scores if not math.isnan(score)]
    best = best_median = -math.inf
    gained: int | None = None
    for index, (epoch, score) in enumerate(known):
        window = [one for _, one in known[max(0, index + 1 - _WINDOW) : index + 1]]
        median = statistics.median(window)
        if score > best or median > best_median > -math.inf:
            gained = epoch
        best = max(best, score)
        best_median = max(best_median, median) if len(window) == _WINDOW else best_median
    return gained
