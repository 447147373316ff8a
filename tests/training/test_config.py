"""The training section of a recipe."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from polysense.config.base import describe
from polysense.config.codec import dump_yaml, from_dict, parse_yaml
from polysense.errors import ConfigError
from polysense.training.config import TrainingConfig


def test_a_config_survives_yaml() -> None:
    config = from_dict(TrainingConfig, {"optimizer": {"type": "sgd", "lr": 0.1}, "schedule": "plateau", "ema": 0.99})
    assert from_dict(TrainingConfig, parse_yaml(dump_yaml(config))) == config
    assert config.optimizer.lr == 0.1
    assert config.schedule.type == "plateau"


def test_every_setting_is_explained() -> None:
    _, texts = describe(TrainingConfig)
    assert set(texts) == {field.name for field in dataclasses.fields(TrainingConfig)}


@pytest.mark.parametrize(
    ("plain", "named"),
    [
        ({"epochs": -1}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 10, "accumulate": 3}, "3 divides"),
        ({"early_stopping": 0}, "early_stopping"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"ema": 1.0}, "ema"),
        ({"monitor": "accuracy"}, "head/metric"),
        ({"optimizer": {"type": "adamw", "lr": 0}}, "lr"),
        ({"optimizer": {"type": "adamw", "betas": [0.9, 1.0]}}, "betas"),
        ({"optimizer": {"type": "sgd", "momentum": 0.0, "nesterov": True}}, "nesterov"),
        ({"optimizer": "adamm"}, "adamw"),
        ({"schedule": {"type": "cosine", "warmup": 1.5}}, "warmup"),
        ({"schedule": {"type": "plateau", "reduction": 2.0}}, "reduction"),
        ({"learning_rate": 1e-3}, "learning_rate"),
    ],
)
def test_a_wrong_setting_is_named(plain: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        from_dict(TrainingConfig, plain)


def test_accumulation_splits_the_batch() -> None:
    assert TrainingConfig(batch_size=32, accumulate=4).micro_batch_size == 8
