"""How long presets train."""

from __future__ import annotations

import math

import pytest

from polysense.presets import PRESETS
from polysense.presets.steps import training_of

ROWS = (1, 20, 100, 300, 1_000, 3_000, 9_000, 30_000, 1_000_000)


@pytest.mark.parametrize("preset", PRESETS)
def test_small_tables_get_smaller_batches_and_more_epochs(preset: str) -> None:
    configs = [training_of(rows, PRESETS[preset].length, ema=None) for rows in ROWS]
    assert [config.batch_size for config in configs] == sorted(config.batch_size for config in configs)
    assert [config.epochs for config in configs] == sorted((config.epochs for config in configs), reverse=True)
    assert configs[-1].epochs == PRESETS[preset].length.fewest_epochs


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("rows", ROWS)
def test_no_table_stops_before_its_steps(preset: str, rows: int) -> None:
    length = PRESETS[preset].length
    config = training_of(rows, length, ema=None)
    steps_per_epoch = math.ceil(rows / config.batch_size)
    assert config.epochs * steps_per_epoch >= length.fewest_steps
    assert config.early_stopping is not None
    # A quarter of the run, and enough steps to tell a plateau from noise.
    assert config.early_stopping >= config.epochs / 4
    assert config.early_stopping * steps_per_epoch >= 150


def test_larger_batches_take_larger_steps() -> None:
    small, middle, large = (training_of(rows, PRESETS["balanced"].length, ema=None) for rows in (300, 4_000, 100_000))
    assert (small.optimizer.lr, middle.optimizer.lr, large.optimizer.lr) == (1.4e-3, 2e-3, 1e-3)
