"""Losses and rates between records."""

from __future__ import annotations

import pytest
import torch

from polysense.training import meter as module
from polysense.training.distributed import Distributed
from polysense.training.meter import Meter


@pytest.mark.parametrize("steps", [0, 2])
def test_a_checkpoint_counts_the_time_of_steps_and_not_of_the_validation(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def new() -> Meter:
        return Meter({"y": 1.0}, Distributed(), torch.device("cpu"))

    def train(meter: Meter, steps: int) -> None:
        for step in range(steps):
            meter.add(torch.tensor([1.0, 1.0, 0.0]), 0, step, 0.1, [torch.arange(10)])
            now[0] += 1.0

    meter = new()
    train(meter, 3)
    meter.recent()
    train(meter, steps)
    if not steps:
        meter.epoch()
        now[0] += 100.0  # the validation
    state = meter.state()
    resumed = new()
    resumed.load_state(state)
    resumed.restart_clock()
    train(resumed, 2)
    assert resumed.recent().samples_per_second == pytest.approx(10.0)
