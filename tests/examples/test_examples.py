"""Every example is a complete recipe, is what `polysense new` writes today, and checks clean on its own table."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import polysense
from polysense.config.codec import parse_yaml, to_dict

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples").glob("*.yaml"))


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_examples", ROOT / "scripts" / "make_examples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for its own annotations
    spec.loader.exec_module(module)
    return module


EXAMPLES = load().EXAMPLES
GENERATED = sorted(name for name, example in EXAMPLES.items() if example.source is None)
PUBLIC = sorted(set(EXAMPLES) - set(GENERATED))


def test_every_recipe_has_its_table_and_every_table_its_recipe() -> None:
    assert sorted(EXAMPLES) == [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_complete_and_names_no_machine(path: Path) -> None:
    recipe = polysense.load_recipe(path)
    text = path.read_text(encoding="utf-8")
    plain = parse_yaml(text)
    assert plain["data"]["table"] is None
    assert plain == to_dict(recipe)
    assert f"polysense new {EXAMPLES[path.stem].name} --target {EXAMPLES[path.stem].target}" in text


def as_written(name: str, table: Path) -> object:
    return parse_yaml(EXAMPLES[name].text(table))


@pytest.mark.parametrize("name", GENERATED)
def test_an_example_on_generated_rows_is_what_new_writes_and_checks_clean(name: str, tmp_path: Path) -> None:
    """On fewer rows than the 2,000 of the example, whose number the preset's length of training follows; from 1,000 on
    it is the same table to the preset for speech.
    """
    table = EXAMPLES[name].make(None, tmp_path, num_rows=1_000 if name == "spoken_numbers" else 200)
    path = ROOT / "examples" / f"{name}.yaml"
    written, example = as_written(name, table), parse_yaml(path.read_text(encoding="utf-8"))
    for recipe in (written, example):
        for key in ("epochs", "batch_size", "early_stopping"):
            assert recipe["training"].pop(key) is not None, key  # type: ignore[index]
    assert written == example, "run: python scripts/make_examples.py DATA"
    found = polysense.check(path, overrides=[f"data.table={table}"])
    assert found.ok, found.text()
    assert not found.unreadable


@pytest.mark.parametrize("name", PUBLIC)
def test_an_example_checks_clean_on_its_table(name: str, tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    example = EXAMPLES[name]
    table = example.make(real_data(example.source.split("/")[0]).parent, tmp_path)
    found = polysense.check(ROOT / "examples" / f"{name}.yaml", overrides=[f"data.table={table}"])
    assert found.ok, found.text()
    assert not found.unreadable


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLIC)
def test_an_example_is_what_new_writes(name: str, tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    example = EXAMPLES[name]
    table = example.make(real_data(example.source.split("/")[0]).parent, tmp_path)
    path = ROOT / "examples" / f"{name}.yaml"
    assert as_written(name, table) == parse_yaml(path.read_text(encoding="utf-8")), (
        "run: python scripts/make_examples.py DATA"
    )
