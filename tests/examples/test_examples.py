"""Every example is a complete recipe, and checks clean on its own table where that is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import polysense
from polysense.config.codec import parse_yaml, to_dict

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_complete_and_names_no_machine(path: Path) -> None:
    recipe = polysense.load_recipe(path)
    plain = parse_yaml(path.read_text(encoding="utf-8"))
    assert plain["data"]["table"] is None
    assert plain == to_dict(recipe)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_checks_clean_on_its_table(path: Path, real_data: Callable[[str], Path]) -> None:
    (table,) = real_data(path.stem).glob("data.*")
    found = polysense.check(path, overrides=[f"data.table={table}"])
    assert found.ok, found.text()
    assert not found.unreadable
