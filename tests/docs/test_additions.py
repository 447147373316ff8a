"""The pages on what a package can add are followed to the letter: files, installation, commands.

The files are those of `examples/plugin`, so the package that one can copy and the pages that explain it never differ.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import ROOT, Block, commands, read_blocks
from package_install import environment, install

EXAMPLE = ROOT / "examples" / "plugin"
PAGES = {"docs/add_a_modality.md": "chess", "docs/add_a_task.md": "count"}
_COMMANDS = """
import contextlib, functools, io, json, sys
import polysense.presets.estimators as default_models
from polysense.cli.app import main

# As in tests/conftest.py: simple models of seconds.
default_models.ForestEstimatorConfig = functools.partial(default_models.ForestEstimatorConfig, num_trees=10)
default_models.BoostingEstimatorConfig = functools.partial(default_models.BoostingEstimatorConfig, max_iterations=10)

results = []
for words in json.load(sys.stdin):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = main(words)
    results.append([code, shown.getvalue()])
print(json.dumps(results))
"""


def files(page: str) -> dict[str, Block]:
    """The blocks of a page that are files, by their paths, which stand behind the language."""
    named = {block.kind.partition(" ")[2]: block for block in read_blocks(page)}
    return {path: block for path, block in named.items() if path}


def follow(page: str, folder: Path) -> dict[str, str]:
    """Writes a page's files, installs the package, runs the commands in order; what each of them printed."""
    for path, block in files(page).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(block.text + "\n", encoding="utf-8")
    for package in {place.parent for place in (folder / "src").rglob("*.py")} | {folder / "src/polysense_example"}:
        (package / "__init__.py").touch()
    words = [words for block in read_blocks(page) if block.kind == "shell" for _, words in commands(block)]
    assert words.pop(0) == ["pip", "install", "--no-deps", "."]
    install(folder, folder / "installed")
    for _, script in (line for line in words if line[0] == "python"):
        subprocess.run([sys.executable, script], cwd=folder, check=True, timeout=60)
    lines = [line[1:] for line in words if line[0] == "polysense"]
    done = subprocess.run(
        [sys.executable, "-c", _COMMANDS],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(folder / "installed"),
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert [code for code, _ in results] == [0] * len(lines), done.stderr
    return {line[0]: printed for line, (_, printed) in zip(lines, results, strict=True)}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_every_file_of_the_example_as_it_is(page: str) -> None:
    listed = files(page)
    for path, block in listed.items():
        if path.startswith("src/"):
            assert block.text + "\n" == (EXAMPLE / path).read_text(encoding="utf-8"), f"{page}: {path} differs"
    room = EXAMPLE / "src/polysense_example" / PAGES[page]
    own = {str(file.relative_to(EXAMPLE)) for file in room.rglob("*.py") if file.name != "__init__.py"}
    assert own == {path for path in listed if path.startswith("src/")}
    assert sum(block.text.count("\n") + 1 for path, block in listed.items() if path in own) < 300
    points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    for group, entries in tomllib.loads(listed["pyproject.toml"].text)["project"]["entry-points"].items():
        assert entries.items() <= points[group].items()


def test_contributors_see_a_file_of_the_example() -> None:
    for path, block in files("CONTRIBUTING.md").items():
        assert block.text + "\n" == (EXAMPLE / path).read_text(encoding="utf-8"), f"CONTRIBUTING.md: {path} differs"


def test_a_modality_is_added_step_by_step(tmp_path: Path) -> None:
    printed = follow("docs/add_a_modality.md", tmp_path)
    assert "input    chess" in printed["check"]
    assert "chess positions such as" in printed["check"]
    assert "A chess position as a token for each piece. [polysense-example]" in printed["list"]
    assert re.search(r"position +(helps|redundant|no help|inconclusive|hurts)", printed["train"])
    examples = (tmp_path / "trained" / "samples.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in examples, "a position is drawn"
    with (tmp_path / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 400
    assert [row["missing"] for row in rows[:3]] == ["position", "", ""]
    assert _json(tmp_path, "metrics.json")["validation"]["ahead"]["accuracy"]["value"] > 0.7


def test_a_task_is_added_step_by_step(tmp_path: Path) -> None:
    printed = follow("docs/add_a_task.md", tmp_path)
    assert "target   count" in printed["check"]
    assert "The expected count, learned by Poisson's likelihood. [polysense-example]" in printed["list"]
    assert "mean baseline" in printed["evaluate"]
    assert "helps most" in printed["train"]
    assert "of deviance" not in printed["train"], "it has no unit"
    with (tmp_path / "predictions.csv").open(encoding="utf-8") as file:
        assert all(float(row["visits"]) > 0 for row in csv.DictReader(file))
    deviance = _json(tmp_path, "metrics.json")["validation"]["visits"]["deviance"]["value"]
    baseline = _json(tmp_path, "baselines.json")["validation"]["mean baseline"]["visits"]["deviance"]["value"]
    assert 0 < deviance < 0.5 * baseline
    report = (tmp_path / "trained" / "report.html").read_text(encoding="utf-8")
    assert "mean baseline" in report
    assert "drop of the deviance when removed" in report


def _json(folder: Path, name: str) -> Any:
    return json.loads((folder / "trained" / name).read_text(encoding="utf-8"))
