"""Code outside modalities/ and tasks/ names no kind: neither in an import, nor in a comparison, nor in a table.

A line on which the word means something else ends with the comment `# not a kind`. Presets may name kinds, as the
recipes do that they make.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "polysense"
KINDS = {room: {path.parent.name for path in SOURCE.glob(f"{room}/*/spec.py")} for room in ("modalities", "tasks")}
EXEMPT = ("modalities", "tasks", "presets")


def positions(text: str, room: str) -> Iterator[int]:
    """The lines on which a module names a kind.

    Args:
        text: The module.
        room: "modalities" or "tasks".
    """
    lines = text.splitlines()

    def is_name(node: ast.expr | None) -> bool:
        return isinstance(node, ast.Constant) and node.value in KINDS[room]

    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(value=ast.Name(id="Task"), attr=attribute):
                found = room == "tasks" and attribute.isupper()
            case ast.Compare():
                found = any(map(is_name, (node.left, *node.comparators)))
            case ast.MatchValue():
                found = is_name(node.value)
            case ast.Dict():
                found = sum(map(is_name, node.keys)) > 1
            case ast.Set() | ast.List() | ast.Tuple():
                found = sum(map(is_name, node.elts)) > 1
            case ast.ImportFrom(module=str(module)):
                # A module that kinds share stands beside their folders and is none.
                found = module.split(".")[1:2] == [room] and module.split(".")[2:3] != [] and is_kind(module, room)
            case _:
                continue
        if found and "# not a kind" not in lines[node.lineno - 1]:  # type: ignore[attr-defined]
            yield node.lineno  # type: ignore[attr-defined]


def is_kind(module: str, room: str) -> bool:
    return module.split(".")[2] in KINDS[room]


@pytest.mark.parametrize("room", KINDS)
def test_generic_code_names_no_kind(room: str) -> None:
    named = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).parts[0] not in EXEMPT
        for line in positions(path.read_text(encoding="utf-8"), room)
    ]
    assert named == [], "ask its spec (polysense.core.registry)"


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
    assert list(positions(line, "modalities"))


@pytest.mark.parametrize(
    "line",
    [
        "x = target.task is Task.REGRESSION",
        "x = target.task == 'generation'",
        "x = target.task in ('tagging', 'retrieval')",
        "table = {'classification': 1, 'multilabel': 2}",
        "from polysense.tasks.tagging.target import TaggingProcessor",
    ],
)
def test_a_named_task_is_seen(line: str) -> None:
    assert list(positions(line, "tasks"))


@pytest.mark.parametrize(
    "line",
    [
        "x = mode == 'fast'",
        "y = {'image': 1}",
        "z = {'image', 'audio'}  # not a kind",
        "from polysense.tasks.shared import Classes",
        "x = Task(name)",
    ],
)
def test_other_words_are_none(line: str) -> None:
    assert not list(positions(line, "modalities"))
    assert not list(positions(line, "tasks"))
