"""Stops a training that raises a reward at the cost of what the reward stands for.

A reward measures a part of what is wanted; driven far enough, a model finds what it leaves out (Gao et al., "Scaling
Laws for Reward Model Overoptimization", 2023: the measured reward grows on while the true one falls). The metric that
is monitored on held-out rows stands for the whole. The rule: since the best epoch there were `patience` validations, in
all of which the reward in training was above, and the monitored metric below, what they were then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from polysense.training.callbacks.base import Callback
from polysense.training.meter import Record
from polysense.training.run import Run

__all__ = ["RewardHacking"]


class RewardHacking(Callback):
    """Watches logged rewards beside the monitored metric.

    Args:
        rewards: The names of those losses, and the patience with each, in validations.
    """

    every_process = True

    def __init__(self, rewards: Mapping[str, int]) -> None:
        self._rewards = dict(rewards)

    def on_start(self, run: Run) -> None:
        """A resumed run may have been stopped already."""
        self._judge(run)

    def on_epoch(self, run: Run, record: Record) -> None:
        """Compares the epochs since the best one with it."""
        self._judge(run)

    def _judge(self, run: Run) -> None:
        scores = {epoch: score for epoch, score in run.monitor.scores if not math.isnan(score)}
        if run.stop_reason is not None or len(scores) < 2:
            return
        best = max(scores, key=lambda epoch: (scores[epoch], -epoch))
        since = [epoch for epoch in scores if epoch > best]
        heads = {record["epoch"]: record["heads"] for record in run.history}
        for name, patience in self._rewards.items():
            if len(since) < patience or best not in heads or not {*since} <= heads.keys():
                continue
            before, after = heads[best][name], [heads[epoch][name] for epoch in since]
            if min(after) > before and max(scores[epoch] for epoch in since) < scores[best]:
                run.stop(
                    f"{name} grew from {before:.4g} in epoch {best} to {after[-1]:.4g}, while {run.monitor.label} has "
                    f"been worse than then in {len(since)} validations: the reward is raised at the cost of what it "
                    "stands for"
                )
                return
