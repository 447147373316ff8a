from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polysense.config.codec import dump_yaml
from polysense.config.overrides import apply_overrides
from polysense.errors import ConfigError

NAME = st.text(st.characters(codec="utf-8", exclude_characters="]"), min_size=1, max_size=10)
WORD = st.from_regex(r"[a-zA-Z_][\w :#-]{0,8}", fullmatch=True).map(str.strip)


@given(st.lists(NAME, min_size=1, max_size=4), st.integers() | st.sampled_from(["no", "1e-3", "a=b", "x: y", "a\nb"]))
@example(["left.eye", "a=b", "type: #1"], "no")
def test_any_name_without_a_closing_bracket_can_be_set(names: list[str], value: Any) -> None:
    path = "".join(f"[{name}]" for name in names)
    text = dump_yaml({"v": value}).removeprefix("v: ").removesuffix("\n")
    found: Any = apply_overrides({}, [f"{path}={text}"])
    for name in names:
        found = found[name]
    assert found == value


@given(st.lists(WORD, min_size=1, max_size=4), st.integers())
def test_plain_names_are_parted_by_dots(names: list[str], value: int) -> None:
    found: Any = apply_overrides({}, [f"{'.'.join(names)}={value}"])
    for name in names:
        found = found[name]
    assert found == value


@given(st.dictionaries(WORD, st.integers(), min_size=1, max_size=4), st.integers())
def test_nothing_else_changes(plain: dict[str, int], value: int) -> None:
    name = min(plain)
    before = copy.deepcopy(plain)
    assert apply_overrides(plain, [f"{name}={value}"]) == before | {name: value}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b=1e-3", {"a": {"b": 0.001, "c": [1, {"d": 2}]}}),
        ("a.b=", {"a": {"b": None, "c": [1, {"d": 2}]}}),
        ("a.b=[x, no]", {"a": {"b": ["x", "no"], "c": [1, {"d": 2}]}}),
        ("a.b= {type: t} ", {"a": {"b": {"type": "t"}, "c": [1, {"d": 2}]}}),
        ("a.b=x=y", {"a": {"b": "x=y", "c": [1, {"d": 2}]}}),
        ("a.c.0=5", {"a": {"b": "old", "c": [5, {"d": 2}]}}),
        ("a.c[1].d=3", {"a": {"b": "old", "c": [1, {"d": 3}]}}),
        ("a.b.width=3", {"a": {"b": {"type": "old", "width": 3}, "c": [1, {"d": 2}]}}),
        ("new.x.y=1", {"a": {"b": "old", "c": [1, {"d": 2}]}, "new": {"x": {"y": 1}}}),
        (" a.b =7", {"a": {"b": 7, "c": [1, {"d": 2}]}}),
        ("a[b]=7", {"a": {"b": 7, "c": [1, {"d": 2}]}}),
    ],
)
def test_one_override(override: str, expected: dict[str, Any]) -> None:
    assert apply_overrides({"a": {"b": "old", "c": [1, {"d": 2}]}}, [override]) == expected


def test_overrides_apply_in_order() -> None:
    assert apply_overrides({}, ["a.b=1", "a.b=2", "a.c=3"]) == {"a": {"b": 2, "c": 3}}


def test_a_new_type_starts_afresh_and_the_same_type_does_not() -> None:
    def fusion() -> dict[str, Any]:
        return {"fusion": {"type": "gated", "dropout": 0.2}}

    assert apply_overrides(fusion(), ["fusion.type=concat"]) == {"fusion": {"type": "concat"}}
    assert apply_overrides(fusion(), ["fusion.type=gated"]) == fusion()
    assert apply_overrides(fusion(), ["fusion.type=concat", "fusion.width=8"])["fusion"] == {
        "type": "concat",
        "width": 8,
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a.b", "found 'a.b' where an override is expected"),
        ("=3", "path '' can't be read"),
        ("a]b=3", "can't be read"),
        ("[]=3", "where an override is expected"),
        ("[a=3", "where an override is expected"),
        ("n.x=3", "n is 5, which has no keys below it"),
        ("l.0.x=3", "l.0 is 1, which has no keys below it"),
        ("l.9=3", "expected a position from 0 to 1, found '9'"),
        ("l.-1=3", "expected a position from 0 to 1, found '-1'"),
        ("l.x.y=3", "expected a position from 0 to 1, found 'x'"),
        ("e.0=3", "the list is empty"),
        ("a=[1", r"override a, line 1, column \d+: not valid YAML"),
    ],
)
def test_mistakes_are_explained(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_overrides({"n": 5, "l": [1, 2], "e": []}, [override])
