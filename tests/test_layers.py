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
TREES = {str(path.relative_to(ROOT / "src")): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def calls(name: str) -> list[str]:
    """Where in the library a function of that name is called."""
    return [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
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


def test_a_file_can_be_read_at_one_sitting() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > 500} == {}


def test_a_file_says_what_it_is_for() -> None:
    assert [path for path, tree in TREES.items() if not ast.get_docstring(tree)] == []


def test_the_library_does_not_print_or_probe() -> None:
    assert calls("print") == [], "log instead: logging.getLogger('polysense...')"
    assert calls("hasattr") == [], "say in the type what a thing can do"


def test_no_error_is_swallowed_blindly() -> None:
    bare = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert bare == []


def test_nothing_is_called_utils() -> None:
    unnamed = {"utils", "util", "helpers", "common", "misc"}
    offenders = [path for path in TREES if not unnamed.isdisjoint(Path(part).stem for part in Path(path).parts)]
    assert offenders == [], "name it by what it does"


def test_tests_mirror_the_sources() -> None:
    packages = {path.parent.relative_to(ROOT / "src" / "polysense") for path in SOURCES}
    apart = {"benchmarks", "docs", "e2e", "examples", "hostile"}
    strays = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if (folder := path.parent.relative_to(ROOT / "tests")) not in packages and folder.parts[:1][0] not in apart
    ]
    assert strays == []


def written_past_the_one_writer(path: str, tree: ast.AST) -> list[str]:
    """Where a module replaces, renames or writes a file by itself, or writes JSON that Python made."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        receiver, name = ast.unparse(node.func.value), node.func.attr
        # What a library writes goes to the path that `replacing` gives, which is called part.
        first = ast.unparse(node.args[0]) if node.args else ""
        modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        is_moved = len(node.args) == 1 and not node.keywords and not first.startswith(("{", "dict("))
        if (
            (receiver, name) in {("os", "replace"), ("os", "rename"), ("os", "fsync"), ("json", "dump")}
            or (receiver == "tempfile" and name in {"NamedTemporaryFile", "mkstemp"})
            or (name in {"replace", "rename"} and is_moved)
            or (name in {"write_text", "write_bytes"} and receiver != "console")
            or (
                (name in {"write_csv", "write_parquet", "write_ndjson", "savez", "savez_compressed"})
                and first not in {"part", "stream", ""}
            )
            or (name in {"write", "writelines"} and "json.dumps" in ast.unparse(node))
            or (name == "open" and receiver != "part" and set("wax").intersection("".join(modes[:1])))
        ):
            lines.append(f"{path}:{node.lineno}: {ast.unparse(node)[:60]}")
    return lines


def test_files_are_written_in_one_place() -> None:
    # Logs grow line by line.
    exempt = ("polysense/core/files.py", "polysense/core/log_file.py")
    lines = [
        line
        for path, tree in TREES.items()
        if not path.startswith(exempt)
        for line in written_past_the_one_writer(path, tree)
    ]
    assert lines == [], "write with polysense.core.files and polysense.core.json"


@pytest.mark.parametrize(
    "line",
    [
        "os.replace(a, b)",
        "part.replace(path)",
        "path.rename(other)",
        "json.dump(value, stream)",
        "path.write_text(text)",
        "path.open('w', encoding='utf-8')",
        "frame.write_parquet(path)",
        "stream.write(json.dumps(value))",
    ],
)
def test_a_writer_of_its_own_is_seen(line: str) -> None:
    assert len(written_past_the_one_writer("polysense/some.py", ast.parse(line))) == 1


@pytest.mark.parametrize(
    "line",
    ["text.replace('a', 'b')", "frame.rename({'a': 'b'})", "replace(config, a=1)", "when.replace(tzinfo=None)",
     "console.write_text(text)", "frame.write_csv(part)", "part.open('wb')", "path.open('rb')", "av.open(path, 'r')"],
)  # fmt: skip
def test_other_calls_are_none(line: str) -> None:
    assert written_past_the_one_writer("polysense/some.py", ast.parse(line)) == []


# Commands are fast to start because they import what they run when they run; `import polysense` likewise.
MAY_IMPORT_LATE = ("polysense/cli/", "polysense/__init__.py", "polysense/__main__.py")
# Each is a circle that is to be opened by moving what both sides need further down.
STILL_HIDDEN = {
    "polysense/nn/objectives/image_text_matching.py",
}


def test_no_import_is_hidden_in_a_function_or_from_the_run_time() -> None:
    hidden = {
        path
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom) and "polysense" in ast.unparse(inner)
        if not path.startswith(MAY_IMPORT_LATE)
    }
    assert hidden <= STILL_HIDDEN


def test_a_result_is_named_after_what_it_is() -> None:
    positions = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id == "found") or (isinstance(node, ast.arg) and node.arg == "found")
    ]
    assert positions == [], "`found` says nothing; name it after what it is, or `result`"
