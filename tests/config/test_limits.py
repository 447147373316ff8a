"""Limits are said where a number is declared, and hold wherever a config is made."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest

from polysense.config.base import Config, members
from polysense.config.codec import from_dict
from polysense.config.limits import FractionBelowOne, NonNegativeFloat, PositiveFloat, PositiveInt, _limits
from polysense.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Numbers(Config):
    rank: PositiveInt = 1
    size: PositiveInt | Literal["auto"] = "auto"
    limit: PositiveFloat | None = None
    noise: NonNegativeFloat = 0.0
    share: FractionBelowOne = 0.0


@dataclass(frozen=True, kw_only=True)
class More(Numbers):
    rank: int = 4
    even: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.even and self.rank % 2:
            raise ConfigError("odd")


@dataclass(frozen=True, kw_only=True)
class Forgetful(Numbers):
    def __post_init__(self) -> None:
        if self.rank == 13:
            raise ConfigError("unlucky")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"rank": 0}, "rank must be at least 1; found 0"),
        ({"size": 0}, "size must be at least 1, or auto; found 0"),
        ({"limit": 0.0}, "limit must be above 0, or null; found 0.0"),
        ({"noise": -1.0}, "noise must be at least 0; found -1.0"),
        ({"noise": float("inf")}, "noise must be at least 0; found inf"),
        ({"noise": float("nan")}, "noise must be at least 0; found nan"),
        ({"share": 1.0}, "share must be at least 0 and below 1; found 1.0"),
    ],
)
def test_a_number_beyond_its_limit_is_refused(bad: dict[str, float], message: str) -> None:
    for make in (Numbers, More, Forgetful):
        with pytest.raises(ConfigError, match=message):
            make(**bad)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=message):
            from_dict(make, bad)


def test_a_check_of_its_own_is_run() -> None:
    with pytest.raises(ConfigError, match="unlucky"):
        Forgetful(rank=13)


def _all_below(config: type[Config]) -> Iterator[type[Config]]:
    for below in config.__subclasses__():
        yield below
        yield from _all_below(below)


def test_every_config_with_a_check_of_its_own_has_its_limits() -> None:
    for family in ("balance", "column", "encoder", "fusion", "head", "optimizer", "schedule", "target", "transform"):
        members(family)
    num_checked = 0
    for config in {
        each for each in _all_below(Config) if not inspect.isabstract(each) and "__post_init__" in vars(each)
    }:
        for bad, (limit, _) in _limits(config).items():
            num_checked += 1
            made = object.__new__(config)  # without `__init__`, whose types are checked here: all else is None
            for name in [field.name for field in dataclasses.fields(config)]:
                object.__setattr__(made, name, limit.low - 1 if name == bad else None)
            with pytest.raises(ConfigError, match=rf"^{bad} must be "):
                made.__post_init__()
    assert num_checked > 100


def test_numbers_at_their_limits_and_words_are_taken() -> None:
    assert from_dict(Numbers, {"rank": 1, "size": "auto", "limit": None, "share": 0.0}) == Numbers()
    assert More(size=3, limit=1e-9).size == 3
