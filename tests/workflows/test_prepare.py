"""A preset that is named by a time is the one that is meant for it, and the time is the limit."""

from __future__ import annotations

from typing import Any

import pytest

from polysense.errors import ConfigError
from polysense.workflows.prepare import prepare

ROWS = [{"x": float(i % 7), "label": "yes" if i % 3 else "no"} for i in range(40)]


def prepared(**options: Any) -> Any:
    return prepare(ROWS, target="label", logs=False, **options).recipe


@pytest.mark.parametrize(("time", "preset"), [("30s", "fast"), ("1m", "balanced"), ("10m", "balanced"), ("2h", "best")])
def test_a_time_stands_for_the_preset_that_is_meant_for_it(time: str, preset: str) -> None:
    timed, named = prepared(preset=time), prepared(preset=preset, overrides=[f"training.time={time}"])
    assert timed.to_yaml() == named.to_yaml()
    assert timed.training.time == time


def test_two_times_or_an_unknown_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"found the preset 10m and training\.time=5m, expected one of them"):
        prepared(preset="10m", overrides=["training.time=5m"])
    with pytest.raises(ConfigError, match=r"there is no preset 'huge'; .* or a time, such as 10m"):
        prepared(preset="huge")


def test_a_task_says_what_the_targets_columns_are() -> None:
    recipe = prepare(ROWS, target="x", task="classification", logs=False).recipe
    assert recipe.data.targets["x"].type == "classification"
    with pytest.raises(ConfigError, match="found 'regression' and no target"):
        prepare(ROWS, task="regression")
    with pytest.raises(ConfigError, match="found 'painting', expected one of"):
        prepare(ROWS, target="x", task="painting")


@pytest.mark.parametrize("part", ["validation", "test"])
def test_rows_in_memory_are_no_table_of_their_own(part: str) -> None:
    with pytest.raises(ConfigError, match=rf"{part}: found a list, expected the path of a table"):
        prepared(**{part: ROWS})
