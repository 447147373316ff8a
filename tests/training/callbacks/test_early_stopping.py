"""When a curve counts as one that gets no better."""

from __future__ import annotations

import math

import numpy as np

from polysense.training.callbacks.early_stopping import last_gain


def gained(*scores: float) -> int | None:
    return last_gain(list(enumerate(scores, 1)))


def test_patience_counts_from_the_best_epoch() -> None:
    assert gained(0.5, 0.4, 0.3, 0.2, 0.1) == 1
    assert gained(0.1, 0.5, 0.4, 0.3, 0.2) == 2
    assert gained(0.5, 0.5, 0.5) == 1
    assert gained(0.1, math.nan, 0.2, math.nan) == 3
    assert gained(math.nan) is None
    assert gained() is None


def test_a_lucky_epoch_at_the_start_does_not_stop_a_curve_that_rises() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 40)
    curve = 0.5 + 0.008 * np.arange(40) + noise
    curve[1] = 0.8  # until epoch 38 no score is above it
    assert int(np.argmax(curve[:30])) == 1
    for epochs in range(6, 31):
        last = gained(*curve[:epochs])
        assert last is not None
        assert epochs - last <= 8, f"after {epochs} epochs"


def test_a_curve_that_falls_is_noticed() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 40)
    curve = 0.5 - 0.01 * np.abs(np.arange(40) - 8) + noise
    last = gained(*curve)
    assert last is not None
    assert last <= 14
