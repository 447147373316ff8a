"""What holds the architecture: the layers, and the few rules that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "polysense").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT / "src")) for path in SOURCES]

every_source = pytest.mark.parametrize("path", SOURCES, ids=NAMES)


def calls(tree: ast.AST, name: str) -> list[int]:
    """The lines on which a function of that name is called."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_covers_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [contract for contract in settings["contracts"] if contract["type"] == "layers"]
    named = {name.strip() for line in layers["layers"] for name in re.split(r"[|:]", line)}
    there = {path.stem for path in (ROOT / "src" / "polysense").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert layers["exhaustive"] is True
    assert there - {"__init__", "__pycache__", "py"} <= named


@every_source
def test_a_file_can_be_read_at_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@every_source
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no module docstring"


@every_source
def test_the_library_does_not_print_or_probe(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert calls(tree, "print") == [], "log instead: logging.getLogger('polysense...')"
    assert calls(tree, "hasattr") == [], "say in the type what a thing can do"


@every_source
def test_no_error_is_swallowed_blindly(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None]
    assert bare == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_called_utils(name: str) -> None:
    parts = {Path(part).stem for part in Path(name).parts}
    assert parts.isdisjoint({"utils", "util", "helpers", "common", "misc"}), "name it by what it does"


def test_tests_mirror_the_sources() -> None:
    packages = {path.parent.relative_to(ROOT / "src" / "polysense") for path in SOURCES}
    apart = {"e2e", "examples"}
    strays = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if (folder := path.parent.relative_to(ROOT / "tests")) not in packages and folder.parts[:1][0] not in apart
    ]
    assert strays == []
