"""Schedules are pure functions of the step; plateau follows the metric."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.training.schedule import ConstantConfig, CosineConfig, PlateauConfig


@given(total=st.integers(1, 500), warmup=st.floats(0, 0.99), final=st.floats(0, 1))
def test_cosine_rises_to_one_and_falls_to_its_end(total: int, warmup: float, final: float) -> None:
    config = CosineConfig(warmup=warmup, final=final)
    schedule, peak = config.build(total), round(warmup * total)
    factors = [schedule.factor(step) for step in range(total + 1)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[0] > 0, "the first batch is not wasted"
    assert factors[:peak] == sorted(factors[:peak])
    assert all(a >= b - 1e-12 for a, b in zip(factors[peak:], factors[peak + 1 :], strict=False))
    if peak < total:
        assert factors[peak] == pytest.approx(1)
        assert factors[total] == pytest.approx(final)


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert CosineConfig(warmup=0.0).build(100).factor(50) == pytest.approx(0.5)
    assert CosineConfig(warmup=0.0).build(100).factor(25) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_constant_stays() -> None:
    schedule = ConstantConfig(warmup=0.1).build(100)
    assert schedule.factor(4) == pytest.approx(5 / 11)
    assert {schedule.factor(step) for step in range(10, 200)} == {1.0}


def test_plateau_reduces_after_its_patience_and_remembers() -> None:
    config = PlateauConfig(warmup=0.0, reduction=0.5, patience=2, final=0.2)
    schedule = config.build(100)
    seen = []
    for score in (1.0, 2.0, 2.0, 1.5, math.nan, 0.0, 3.0, 3.0, 3.0):
        schedule.observe(score)
        seen.append(schedule.factor(50))
    assert seen == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2]

    resumed = config.build(100)
    resumed.load_state(schedule.state())
    for both in (schedule, resumed):
        both.observe(2.0)
        both.observe(4.0)
    assert resumed.state() == schedule.state()
    assert resumed.factor(60) == schedule.factor(60)
