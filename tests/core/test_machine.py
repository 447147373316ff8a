"""What a process may use of its machine, and the variables that say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from polysense.core.machine import bytes_variable, cache_folder, max_cache_bytes, num_cpus, seconds_variable
from polysense.errors import ConfigError


def test_the_cache_folder_is_the_variables_then_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("POLYSENSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "polysense"
    assert num_cpus() >= 1


def test_variables_take_units_and_refuse_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYSENSE_CACHE_BYTES", raising=False)
    assert max_cache_bytes() == 20 * 2**30
    for text, number in (("50GB", 50 * 10**9), ("0", 0), (" ", 20 * 2**30), ("123", 123)):
        monkeypatch.setenv("POLYSENSE_CACHE_BYTES", text)
        assert max_cache_bytes() == number
    monkeypatch.setenv("POLYSENSE_CACHE_BYTES", "much")
    with pytest.raises(ConfigError, match="the environment variable POLYSENSE_CACHE_BYTES: found 'much', expected"):
        max_cache_bytes()
    for text, seconds in (("0", 0.0), ("2m", 120.0), ("", 7.0), ("1.5", 1.5)):
        monkeypatch.setenv("LIMIT", text)
        assert seconds_variable("LIMIT", 7.0) == seconds
    monkeypatch.setenv("LIMIT", "-1")
    with pytest.raises(ConfigError, match="LIMIT: found '-1', expected a duration above 0"):
        seconds_variable("LIMIT", 7.0)
    with pytest.raises(ConfigError, match="LIMIT: found '-1', expected a number of bytes"):
        bytes_variable("LIMIT", 7)
