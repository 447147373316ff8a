"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.duration import parse_duration, spell_duration
from polysense.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("10 min", 600), ("1h", 3600), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172_800),
     ("90", 90), (45.0, 45), (0.5, 0.5), (" 5M ", 300), ("1h 2m 3s", 3723)],
)  # fmt: skip
def test_what_is_read(text: str | float, seconds: float) -> None:
    assert parse_duration(text, "time") == seconds


@pytest.mark.parametrize("text", ["", "10x", "m", "10m!", "ten minutes", "-5m", "0", "0s", "inf", "nan", "5m of it"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"time: found .*expected a duration"):
        parse_duration(text, "time")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.3, "12 s"), (60.0, "1 min"), (200.0, "3 min 20 s"), (3600.0, "1 h"), (7500.0, "2 h 5 min")],
)
def test_what_is_written(seconds: float, text: str) -> None:
    assert spell_duration(seconds) == text


@given(st.integers(10, 10**6))
def test_what_is_written_is_read_again(seconds: int) -> None:
    spelled = spell_duration(float(seconds)).replace("min", "m").replace(" ", "")
    assert seconds - 60 < parse_duration(spelled, "time") <= seconds
