"""A recipe may be anything: it ends in a message of its file and line, at once."""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import pytest
from hostile_mutations import with_other_bytes

from polysense.config.codec import parse_yaml
from polysense.config.overrides import apply_overrides
from polysense.errors import ConfigError, UserError
from polysense.recipe import load_recipe

LETTERS = "abcdefghij"
LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{last}'] * 10)}]\n" for last, this in itertools.pairwise(LETTERS)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{this}: &{this} {{<<: [{', '.join([f'*{last}'] * 10)}]}}\n" for last, this in itertools.pairwise(LETTERS)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10_000, "nested more than 100 levels"),
        ("\n".join("  " * depth + "a:" for depth in range(300)), "nested more than 100 levels"),
        (LAUGHS, "more than 2,000,000 values, aliases counted"),
        (MERGES, "more than 2,000,000 values, aliases counted"),
        ("a: &a [*a]", "an alias stands within what it stands for"),
        ("a: &a {b: *a}", "an alias stands within what it stands for"),
        ("a: " + "9" * 6000, "a whole number of 6,000 characters"),
        ("a: 0x" + "f" * 6000, "a whole number of 6,002 characters"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: !!timestamp never", "not valid YAML"),
        ("a: !!int x", "not valid YAML"),
        ("a: \x1b[2J", "not valid YAML"),
    ],
)
def test_what_would_never_end_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    began = time.perf_counter()
    with pytest.raises(ConfigError, match=rf"recipe\.yaml.*{message}"):
        load_recipe(path)
    assert time.perf_counter() - began < 5


def test_aliases_as_people_use_them_are_read() -> None:
    text = "base: &base {type: gated, dropout: 0.1}\nfusion: *base\n"
    assert parse_yaml(text)["fusion"] == {"type": "gated", "dropout": 0.1}


def test_merge_keys_give_what_is_not_said_beside_them() -> None:
    text = """
    base: &base {type: gated, dropout: 0.1, width: 8}
    wide: &wide {<<: *base, width: 64}
    other: {dropout: 0.5, <<: *wide}
    both: {<<: [{dropout: 0.3}, *wide], depth: 1}
    again: *wide
    =: 1
    """
    assert parse_yaml(text) == {
        "base": {"type": "gated", "dropout": 0.1, "width": 8},
        "wide": {"type": "gated", "dropout": 0.1, "width": 64},
        "other": {"type": "gated", "dropout": 0.5, "width": 64},
        "both": {"type": "gated", "dropout": 0.3, "width": 64, "depth": 1},
        "again": {"type": "gated", "dropout": 0.1, "width": 64},
        "=": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "the key '<<' stands twice"),
        ("a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}", "the key 'y' stands twice"),
        ("b: {<<: 3}", "<<: expected keys and values to merge"),
    ],
)
def test_wrong_merge_keys_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text)


@pytest.mark.parametrize(
    "override",
    [
        "a.b.c=" + "[" * 5000,
        "a=" + "{a: " * 500,
        ".".join("a" * 3000) + "=1",
        "a=" + "9" * 5000,
        "a=&a [*a]",
        "[=",
        "=",
    ],
)
def test_hostile_overrides_are_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        apply_overrides({}, [override])


RECIPE = """data:
  table: t.csv
  columns: {a: {type: number}, b: {type: text, vocabulary_size: 100}}
  targets: {y: {type: classification}}
model:
  width: 16
  encoders: {a: {type: number_mlp, hidden: 8}, b: {type: text_cnn}}
  fusion: {type: gated, dropout: 0.1}
  heads: {y: {type: classification}}
training: {epochs: 3, seed: 0, optimizer: {type: adamw, lr: 1e-3}}
"""
PIECES = [
    "null", "[]", "{}", "-1", "1e400", ".nan", ".inf", "9" * 39, "''", "\"\\e[2J\"", "{type: nosuch}", "[[[]]]", "~",
    "true", "!!set {a}", "&x a", "*x", "<<", "|\n  a", "? a", "\t", "%", "@", "`", "--- ", "...", "!!omap [a: 1]",
    "2020-01-01",
]  # fmt: skip


def _read(seed: int, path: Path) -> None:
    draws = random.Random(seed)
    if draws.random() < 0.2:
        path.write_bytes(with_other_bytes(RECIPE.encode(), draws))
    else:
        words = RECIPE.split(" ")
        for _ in range(draws.choice([1, 2, 4])):
            words[draws.randrange(len(words))] = draws.choice(PIECES)
        path.write_text(" ".join(words))
    try:
        load_recipe(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017 (some mutations are harmless)
        assert "\x1b" not in str(error)  # noqa: PT017


def test_a_mutated_recipe_ends_in_a_message(tmp_path: Path) -> None:
    for seed in range(300):
        _read(seed, tmp_path / "recipe.yaml")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_mutated_recipes_end_in_a_message(tmp_path: Path) -> None:
    for seed in range(300, 5000):
        _read(seed, tmp_path / "recipe.yaml")
