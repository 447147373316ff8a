"""The stop of a training whose reward grows at the cost of what it stands for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from polysense.training.callbacks.reward_hacking import RewardHacking


def run_of(rewards: list[float], scores: list[float]) -> Any:
    history = [{"epoch": epoch, "heads": {"rl/reward": reward}} for epoch, reward in enumerate(rewards, start=1)]
    monitor = SimpleNamespace(scores=list(enumerate(scores, start=1)), label="text/cider")
    run = SimpleNamespace(history=history, monitor=monitor, stop_reason=None)
    run.stop = lambda reason: setattr(run, "stop_reason", reason)
    return run


def judged(rewards: list[float], scores: list[float], patience: int = 2) -> str | None:
    run = run_of(rewards, scores)
    RewardHacking({"rl/reward": patience}).on_epoch(run, cast("Any", None))
    reason: str | None = run.stop_reason
    return reason


def test_a_reward_that_grows_while_the_metric_falls_stops_the_run() -> None:
    reason = judged([0.1, 0.3, 0.6, 0.9], [0.2, 0.5, 0.4, 0.3])
    assert reason is not None
    assert "rl/reward grew from 0.3 in epoch 2 to 0.9, while text/cider has been worse than then in 2" in reason


def test_nothing_stops_a_run_that_gains_or_whose_reward_falls_too() -> None:
    assert judged([0.1, 0.3, 0.6, 0.9], [0.2, 0.3, 0.4, 0.5]) is None
    assert judged([0.1, 0.9, 0.6, 0.5], [0.2, 0.5, 0.4, 0.3]) is None, "no growth: it is no hack"
    assert judged([0.1, 0.3, 0.6], [0.2, 0.5, 0.4]) is None, "patience"
    assert judged([0.1, 0.3, 0.6, 0.9], [0.2, 0.5, 0.5, 0.3]) is None, "as good as then"
    assert judged([0.1, 0.3, 0.6, 0.9], [0.2, float("nan"), 0.1, float("nan")], patience=1) is not None


def test_a_resumed_run_that_was_stopped_stays_so() -> None:
    run = run_of([0.1, 0.3, 0.6, 0.9], [0.2, 0.5, 0.4, 0.3])
    RewardHacking({"rl/reward": 2}).on_start(run)
    assert run.stop_reason is not None
