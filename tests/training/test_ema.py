"""The running average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polysense.training.ema import WeightAverage


def test_it_is_the_recursion_with_a_warmed_up_decay() -> None:
    module = nn.Linear(2, 3)
    average = WeightAverage(module, decay=0.3)
    expected = module.weight.detach().clone()
    for step in range(5):
        with torch.no_grad():
            module.weight.add_(torch.randn(3, 2))
        average.update()
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    torch.testing.assert_close(average.state()["weight"], expected)


def test_it_is_applied_and_taken_back_even_after_an_error() -> None:
    module = nn.Linear(2, 3)
    average = WeightAverage(module, decay=0.9)
    with torch.no_grad():
        module.weight.add_(1.0)
    live = module.weight.detach().clone()
    parameter = module.weight

    def fail() -> None:
        with average.applied():
            torch.testing.assert_close(module.weight, live - 1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(module.weight, live)
    assert module.weight is parameter


def test_frozen_parameters_are_left_out() -> None:
    module = nn.Linear(2, 3)
    module.bias.requires_grad_(False)
    assert set(WeightAverage(module, decay=0.9).state()) == {"weight"}
