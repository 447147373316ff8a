"""Code outside tasks/ and presets/ names no particular task: it asks the task's spec."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import polysense
from polysense.core.registry import tasks

SOURCE = Path(polysense.__file__).parent
ROOMS = ("tasks", "presets")

OWING = {
    "bundle.py",
    "core/schema.py",
    "nn/alone.py",
    "nn/model.py",
    "nn/objectives/image_text_matching.py",
    "nn/truth.py",
    "workflows/reconstructed.py",
    "workflows/representation/neighbors.py",
}
"""Files that still name one. Take a file out when it doesn't; put none in."""


def named_tasks(tree: ast.AST) -> Iterator[str]:
    """Where a module names a task: a member, a comparison with a name, a table by names, an import from its folder."""
    names = set(tasks())

    def is_name(node: ast.AST | None) -> bool:
        return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names

    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="Task"), attr=attribute) if attribute.isupper():
                yield f"line {node.lineno}: Task.{attribute}"
            case ast.Compare() if any(map(is_name, (node.left, *node.comparators))):
                yield f"line {node.lineno}: a comparison with a task's name"
            case ast.MatchValue() if is_name(node.value):
                yield "a case for a task's name"
            case ast.Dict() if sum(map(is_name, node.keys)) >= 2:
                yield f"line {node.lineno}: a table by task"
            case ast.Set() | ast.List() | ast.Tuple() if sum(map(is_name, node.elts)) >= 2:
                yield f"line {node.lineno}: a list of tasks"
            case ast.ImportFrom(module=str(module)) if any(f".tasks.{name}." in f".{module}." for name in names):
                yield f"line {node.lineno}: from {module}"


def naming_files() -> dict[str, list[str]]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(tuple(f"{room}/" for room in ROOMS)):
            places = list(named_tasks(ast.parse(path.read_text(encoding="utf-8"))))
            if places:
                found[name] = places
    return found


def test_generic_code_names_no_task() -> None:
    found = naming_files()
    more = {name: places for name, places in found.items() if name not in OWING}
    assert not more, "ask polysense.core.registry.task(target.task) instead"
    assert not OWING - set(found), "these name none any more: take them out of OWING"


def test_every_dress_is_seen() -> None:
    code = """
from polysense.tasks.tagging.target import TaggingTarget
target.task is Task.REGRESSION
target.task == "generation"
target.task in ("tagging", "retrieval")
names = {"classification": 1, "multilabel": 2}
"""
    assert len(list(named_tasks(ast.parse(code)))) == 5
