"""Code outside modalities/ and tasks/ names no modality: neither in an import, nor in a comparison, nor in a table.

A line on which the word means something else ends with the comment `# not a kind`. Presets may name kinds, as the
recipes do that they make.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "polysense"
MODALITIES = {path.parent.name for path in SOURCE.glob("modalities/*/spec.py")}
EXEMPT = ("modalities", "tasks", "presets")


def places(text: str) -> Iterator[int]:
    """The lines on which a module names a modality."""
    lines = text.splitlines()

    def is_name(node: ast.expr | None) -> bool:
        return isinstance(node, ast.Constant) and node.value in MODALITIES

    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Compare():
                found = any(map(is_name, (node.left, *node.comparators)))
            case ast.MatchValue():
                found = is_name(node.value)
            case ast.Dict():
                found = sum(map(is_name, node.keys)) > 1
            case ast.Set() | ast.List() | ast.Tuple():
                found = sum(map(is_name, node.elts)) > 1
            case ast.ImportFrom(module=str(module)):
                found = module.split(".")[1:2] == ["modalities"] and module.split(".")[2:3] != []
            case _:
                continue
        if found and "# not a kind" not in lines[node.lineno - 1]:  # type: ignore[attr-defined]
            yield node.lineno  # type: ignore[attr-defined]


def test_generic_code_names_no_modality() -> None:
    named = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).parts[0] not in EXEMPT
        for line in places(path.read_text(encoding="utf-8"))
    ]
    assert named == [], "ask the modality's spec (polysense.core.registry.modality)"


@pytest.mark.parametrize(
    "line",
    [
        "x = column.modality == 'image'",
        "x = kind in ('image', 'audio')",
        "match kind:\n    case 'text':\n        pass",
        "table = {'image': 1, 'audio': 2}",
        "from polysense.modalities.image.spec import SPEC",
    ],
)
def test_a_named_modality_is_seen(line: str) -> None:
    assert list(places(line))


@pytest.mark.parametrize("line", ["x = mode == 'fast'", "y = {'image': 1}", "z = {'image', 'audio'}  # not a kind"])
def test_other_words_are_none(line: str) -> None:
    assert not list(places(line))
