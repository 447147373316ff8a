"""JSON that every reader takes, and errors that say where."""

from __future__ import annotations

import dataclasses
import datetime
import json
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.json import json_text, parse_json, read_json, to_json, write_json, write_json_lines


class Color(StrEnum):
    RED = "red"


class Size(Enum):
    TWO = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    color: Color


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        ([float("inf"), -float("inf"), 1.5], [None, None, 1.5]),
        (np.float32("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (torch.tensor(2), 2),
        (torch.tensor([1.0, torch.inf]), [1.0, None]),
        (Point(0.5, Color.RED), {"x": 0.5, "color": "red"}),
        ({Color.RED: (1, 2), Size.TWO: 3, 4: 5}, {"red": [1, 2], "2": 3, "4": 5}),
        ({None: 6, True: 7}, {"null": 6, "true": 7}),
        (Path("a/b"), "a/b"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (Decimal("1.10"), "1.10"),
        (2**80, 2**80),
        ({1}, [1]),
    ],
)  # fmt: skip
def test_values_become_jsons_own(value: Any, expected: Any) -> None:
    assert to_json(value) == expected
    assert json.loads(json_text(value), parse_constant=pytest.fail) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    )
)
def test_plain_values_come_back(value: Any) -> None:
    if not any(0xD800 <= ord(sign) < 0xE000 for sign in json_text(value)):
        assert parse_json(json_text(value), object) == value


def test_files_come_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"é": [1, float("nan")]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "é": [\n  1,\n  null\n ]\n}\n'
    assert read_json(tmp_path / "a.json", dict) == {"é": [1, None]}
    write_json_lines(tmp_path / "a.jsonl", [{"a": 1}, {"b": None}])
    assert (tmp_path / "a.jsonl").read_text() == '{"a": 1}\n{"b": null}\n'


def test_what_cannot_be_written_is_named_by_its_place() -> None:
    with pytest.raises(TypeError, match=r"info\.parts\[1\]: found a object"):
        to_json({"info": {"parts": [1, object()]}})
    with pytest.raises(ValueError, match=r"a\.b: an integer of more than 4300 digits"):
        to_json({"a": {"b": 10**5000}})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 200 levels"):
        json_text(endless)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ("[" + "1" * 5000 + "]", "5,000 digits"),
        ("[NaN]", "NaN is no JSON"),
        ("[1", "Expecting"),
        ("{}", "found a JSON dict, expected a list"),
    ],
)
def test_what_cannot_be_read_is_a_value_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text, list)


def test_a_failed_write_leaves_the_older_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError, match="object"):
        write_json(tmp_path / "a.json", [object()])
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert read_json(tmp_path / "a.json", list) == [1]
