"""Limits are said where a number is declared, and hold wherever a config is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from polysense.config.base import Config
from polysense.config.codec import from_dict
from polysense.config.limits import FractionBelowOne, NonNegativeFloat, PositiveFloat, PositiveInt
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
    for make in (Numbers, More):
        with pytest.raises(ConfigError, match=message):
            make(**bad)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=message):
            from_dict(make, bad)


def test_numbers_at_their_limits_and_words_are_taken() -> None:
    assert from_dict(Numbers, {"rank": 1, "size": "auto", "limit": None, "share": 0.0}) == Numbers()
    assert More(size=3, limit=1e-9).size == 3
