"""Files are UTF-8 and output never fails, whatever the locale: an old Latin-1, Windows' cp1252, or C."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
)
_BINARY_OPENERS = {"Image", "gzip", "av", "wave", "tarfile", "zipfile", "os", "webbrowser", "dbm"}


def without_encoding(tree: ast.AST) -> list[int]:
    """The lines that open a text file in the locale's encoding."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(keyword.arg in ("encoding", None) for keyword in node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        receiver = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        texts = [
            part.value
            for part in [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        if name == "read_text" and not node.args:
            # `importlib.resources` reads UTF-8 by itself; paths do not.
            lines.append(node.lineno)
        elif name == "write_text" and receiver and len(node.args) == 1:
            lines.append(node.lineno)
        elif name in ("open", "fdopen", "TextIOWrapper", "NamedTemporaryFile"):
            is_path = isinstance(node.func, ast.Name) or receiver.split(".")[0] not in _BINARY_OPENERS
            modes = [text for text in texts if set(text) <= set("rwxabt+")]
            opens_text = any("b" not in mode for mode in modes) or (not modes and isinstance(node.func, ast.Name))
            is_media = receiver in ("media", "self")  # whose `open` reads bytes
            is_bare = name == "open" and not node.args and not node.keywords and not is_media
            if is_path and (opens_text or is_bare):
                lines.append(node.lineno)
        elif name in ("run", "Popen", "check_output") and any(
            word.arg in ("text", "universal_newlines") and getattr(word.value, "value", False) for word in node.keywords
        ):
            lines.append(node.lineno)
    return lines


def test_every_text_file_states_its_encoding() -> None:
    found = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(ROOT)}:{line}" for line in without_encoding(tree)]
    assert found == []


@pytest.mark.parametrize(
    ("code", "is_bad"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text(text)", True),
        ("write_text(path, text)", False),
        ("open(path)", True),
        ("open(path, 'rb')", False),
        ("path.open('w')", True),
        ("path.open()", True),
        ("path.open('rb')", False),
        ("Image.open(path)", False),
        ("subprocess.run(line, text=True)", True),
        ("subprocess.run(line, text=True, encoding='utf-8')", False),
    ],
)
def test_the_check(code: str, is_bad: bool) -> None:
    assert bool(without_encoding(ast.parse(code))) == is_bad


LOCALES = [
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
]


@pytest.mark.parametrize("locale", LOCALES, ids=["ascii", "cp1252"])
def test_another_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    table = tmp_path / "цены.csv"
    rows = [f"{i * 37 % 11 + i % 2 / 2:.1f},{'да' if i % 2 else 'нет ☃'}\n" for i in range(60)]
    table.write_text("цена,label\n" + "".join(rows), encoding="utf-8")
    small = ["training.epochs=1", "evaluation.bootstrap=5", "data.num_workers=0", "training.tensorboard=false"]
    line = ["train", str(table), "--target", "label", "--preset", "fast", "-o", str(tmp_path / "run"), *small]
    for arguments in (line, ["predict", str(tmp_path / "run"), str(table)], ["check", str(table), "--target", "label"]):
        done = subprocess.run(
            [sys.executable, "-m", "polysense", *arguments],
            capture_output=True, text=True, encoding="utf-8", errors="replace", env={**os.environ, **locale},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-800:]
    assert "цена" in (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8")
    assert "нет ☃" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
