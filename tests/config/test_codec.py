from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from polysense.config.base import Config, Family
from polysense.config.codec import (
    dump_yaml,
    field_comments,
    from_dict,
    json_schema,
    parse_yaml,
    read_text,
    to_dict,
)
from polysense.errors import ConfigError


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Family, family="test_engine"):
    pass


@dataclass(frozen=True, kw_only=True)
class SteamConfig(EngineConfig):
    """Steam.

    Attributes:
        pressure: In bar.
    """

    type: Literal["steam"] = "steam"
    pressure: float = 3.5

    def __post_init__(self) -> None:
        if self.pressure < 0:
            raise ConfigError("pressure must not be negative")


@dataclass(frozen=True, kw_only=True)
class ElectricConfig(EngineConfig):
    type: Literal["electric"] = "electric"
    cells: int = 4


@dataclass(frozen=True, kw_only=True)
class CarConfig(Config):
    """A car.

    Attributes:
        name: Its name.
        engine: What drives it.
        spare: Spare engines,
            by place.
    """

    name: str | None = None
    seats: int = 4
    color: Color = Color.RED
    size: tuple[int, int] | None = None
    engine: EngineConfig = SteamConfig()
    spare: dict[str, EngineConfig] = field(default_factory=dict)
    history: tuple[EngineConfig, ...] = ()


ODD = [
    "no", "yes", "on", "Off", "y", "true", "True", "null", "~", "", " ", "1e-3", "-1E+5", "1.", ".5", ".inf", "-.INF",
    ".nan", "007", "1٣.5", "1٣",
    "0b1", "0x1F", "0o17", "1_000", "12:30:45", "2020-01-01", "2020-01-01T00:00:00Z", "=", "<<", "- a", "? b",
    "a: b", "a #b", "#c", "left.eye", "übergröße", "日本語", "🎧 audio", "a\nb", "a\n", "\n", "\r\n", "\u2028", "\x85",
    "tab\there", "\ttab", "'", '"', "it's", "{a}", "[b]", "a, b", "*x", "&x", "!x", "%x", "@x", "`x", "|", ">", "...",
    "wait...", "---", "\\n", "\x00", "\x7f", "\ufeff", "trailing ", "a:", ":", "line one\n  indented\n\nthree", "a=b",
]  # fmt: skip

TEXT = st.sampled_from(ODD) | st.text(st.characters(codec="utf-8"), max_size=12)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
PLAIN = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, PLAIN, max_size=4))
@example({text: {text: [text, {text: text}]} for text in ODD})
def test_yaml_round_trips_every_key_and_value(plain: dict[str, Any]) -> None:
    assert parse_yaml(dump_yaml(plain)) == plain


@given(st.dictionaries(TEXT, TEXT, max_size=4))
@example({text: text for text in ODD})
def test_other_readers_agree_about_strings(plain: dict[str, str]) -> None:
    # PyYAML's own loader reads YAML 1.1: what we write must not turn into a boolean or a date there.
    assert yaml.safe_load(dump_yaml(plain)) == plain


@given(st.floats())
def test_floats_survive(number: float) -> None:
    (back,) = parse_yaml(dump_yaml({"a": number})).values()
    assert isinstance(back, float)
    assert math.isnan(back) if math.isnan(number) else back == number


@given(TEXT.filter(bool), TEXT, SCALAR)
@example("a.b", "no", "1e-3")
def test_comments_stand_above_their_keys_and_change_nothing(outer: str, inner: str, value: Any) -> None:
    text = dump_yaml({outer: {inner: value}}, {f"{outer}.{inner}": "First: line\nsecond # line\n\nlast"})
    assert parse_yaml(text) == {outer: {inner: value}}
    assert "  # First: line\n  # second # line\n  #\n  # last\n" in text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("true", True), ("False", False), ("1e-3", 0.001), ("1E5", 1e5),
        ("-2.5e+1", -25.0), (".5", 0.5), ("3.", 3.0), ("-.inf", -math.inf), ("12", 12), ("2020-01-01", "2020-01-01"),
        ("1.2.3", "1.2.3"), ("e5", "e5"),
        ("007", "007"), ("12:30", "12:30"), ("0x1F", 31), ("-0", 0), ("+12", 12),
        ("1_000", "1_000"), ("1٣", "1٣"), ("null", None), ("", None), ("[1e-4, no]", [1e-4, "no"]), ("'1e-3'", "1e-3"),
    ],
)  # fmt: skip
def test_scalars_are_read_by_yaml_1_2s_rules(text: str, value: Any) -> None:
    assert parse_yaml(text) == value


def test_mistakes_in_yaml_name_the_line() -> None:
    with pytest.raises(ConfigError, match=r"r\.yaml, line 3, column 1: .*the key 'a' stands twice"):
        parse_yaml("a: 1\nb: 2\na: 3\n", "r.yaml")
    with pytest.raises(ConfigError, match=r"r\.yaml, line 2, column \d+: not valid YAML"):
        parse_yaml("a: 1\n b: 2: 3\n", "r.yaml")
    with pytest.raises(ConfigError, match="a key must be a plain value"):
        parse_yaml("? [a, b]\n: 1\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_yaml("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_yaml("a: \x01\n")


@pytest.mark.parametrize("text", ["[" * 5000, "[" * 5000 + "]" * 5000, "\n".join("  " * i + "a:" for i in range(700))])
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"deep\.yaml, line \d+, column \d+: .*nested more than 100 levels"):
        parse_yaml(text, "deep.yaml")


def load_car(path: Path) -> CarConfig:
    return from_dict(CarConfig, parse_yaml(read_text(path), str(path)), where=str(path))


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_car(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="is a directory"):
        load_car(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: Müller\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_car(tmp_path / "latin.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match=r"list\.yaml: found \['a'\], expected keys: name, seats"):
        load_car(tmp_path / "list.yaml")


def test_a_byte_order_mark_and_an_empty_file_are_fine(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfname: a\n")
    assert load_car(tmp_path / "bom.yaml").name == "a"
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_car(tmp_path / "empty.yaml") == CarConfig()


ENGINES = st.builds(SteamConfig, pressure=st.floats(0, 9)) | st.builds(ElectricConfig, cells=st.integers(0, 9))
CARS = st.builds(
    CarConfig,
    name=st.none() | TEXT,
    seats=st.integers(),
    size=st.none() | st.tuples(st.integers(), st.integers()),
    engine=ENGINES,
    spare=st.dictionaries(TEXT, ENGINES, max_size=3),
    history=st.lists(ENGINES, max_size=2).map(tuple),
)


@given(CARS)
def test_a_config_round_trips_through_yaml(car: CarConfig) -> None:
    assert from_dict(CarConfig, parse_yaml(dump_yaml(car, field_comments(car)))) == car


def test_a_plain_config_is_complete_and_type_comes_first() -> None:
    plain = to_dict(CarConfig(size=(1, 2), spare={"left.front": ElectricConfig()}))
    assert plain == {
        "name": None,
        "seats": 4,
        "color": "red",
        "size": [1, 2],
        "engine": {"type": "steam", "pressure": 3.5},
        "spare": {"left.front": {"type": "electric", "cells": 4}},
        "history": [],
    }
    assert next(iter(plain["engine"])) == "type"
    assert type(plain["color"]) is str
    json.dumps(plain)


def test_a_family_by_name_alone_gets_its_defaults() -> None:
    assert from_dict(CarConfig, {"engine": "electric"}).engine == ElectricConfig()


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"seat": 5}, r"recipe: seat: no such key; did you mean 'seats'\? \(known here: name, seats, color"),
        ({"zzz": 5}, r"recipe: zzz: no such key \(known here"),
        ({"seats": "many"}, r"recipe: seats: found 'many'; input should be a valid integer"),
        ({"color": "blue"}, r"recipe: color: found 'blue'; input should be 'red'"),
        ({"engine": {"type": "stem"}}, r"recipe: engine: no test_engine is named 'stem'; did you mean 'steam'\?"),
        ({"engine": "x"}, r"recipe: engine: no test_engine is named 'x' \(choose from: electric, steam\)"),
        ({"engine": {"pressure": 1}}, r"recipe: engine: no type given \(choose from: electric, steam\)"),
        ({"engine": {"type": "steam", "presure": 1}}, r"engine\.presure: no such key; did you mean 'pressure'\?"),
        ({"engine": {"type": "steam", "pressure": "a"}}, r"recipe: engine\.pressure: found 'a'"),
        ({"engine": {"type": "steam", "pressure": -1}}, r"engine: .*pressure must not be negative"),
        ({"engine": {"type": "electric", "pressure": 1}}, r"engine\.pressure: no such key \(known here: type, cells\)"),
        ({"engine": {"type": "electric", "electric": 1}}, r"engine\.electric: no such key \(known here: type, cells\)"),
        ({"spare": {"a.b": {"type": "electric", "cells": []}}}, r"recipe: spare\.a\.b\.cells: found \[\]"),
        ({"spare": {"steam": {"type": "electric", "cell": 1}}}, r"spare\.steam\.cell: no such key; did you mean 'cel"),
        ({"history": [{"type": "steam"}, {"type": "electric", "cells": "x"}]}, r"history\.1\.cells: found 'x'"),
        ({"size": [1]}, r"recipe: size"),
    ],
)  # fmt: skip
def test_every_mistake_is_located_and_explained(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(CarConfig, plain)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(CarConfig, {"seat": 1, "seats": "x", "engine": "y"}, where="car.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("car.yaml: ") for line in lines)


@dataclass(frozen=True, kw_only=True)
class StrictConfig(Config):
    table: str


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="recipe: table: is missing, and has no default"):
        from_dict(StrictConfig, {})


def test_the_json_schema_names_keys_types_and_choices() -> None:
    schema = json_schema(CarConfig)
    text = json.dumps(schema)
    assert set(schema["properties"]) == {"name", "seats", "color", "size", "engine", "spare", "history"}
    assert schema["additionalProperties"] is False
    assert '"steam"' in text
    assert '"electric"' in text


def test_comments_come_from_the_docstrings_where_a_class_first_stands() -> None:
    comments = field_comments(CarConfig(spare={"left": SteamConfig()}))
    assert comments["name"] == "Its name."
    assert comments["spare"] == "Spare engines, by place."
    assert comments["engine.pressure"] == "In bar."
    assert "spare.left.pressure" not in comments
    assert "seats" not in comments
