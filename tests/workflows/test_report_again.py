"""A finished run's report is written again from its folder; what is no finished run is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_processes import timeless

import polysense
from polysense import api
from polysense.errors import CheckpointError, ConfigError, TableError


@pytest.fixture
def copy(trained: Callable[[str], polysense.Run], tmp_path: Path) -> Path:
    """A copy of a run that finds its table as the run did."""
    run = trained("classification")
    for path in run.folder.parent.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    return Path(shutil.copytree(run.folder, tmp_path / run.folder.name))


def test_the_same_files_are_written_again(copy: Path) -> None:
    before = timeless(copy)
    for name in ("report.html", "report.md", "metrics.json", "verdict.json"):
        (copy / name).unlink()
    path = api.report(copy)
    assert path.name == "report.html"
    after = timeless(copy)
    assert after.keys() == before.keys()
    for name in ("metrics.json", "verdict.json", "environment.json", "contribution.json", "unreadable.jsonl"):
        assert after[name] == before[name], name
    columns = json.loads((copy / "contribution.json").read_text())["targets"]["label"]["columns"]
    assert all({"others_masked", "trained_alone"} <= column.keys() for column in columns.values())


def test_no_page_of_a_run_names_a_folder_of_this_machine(copy: Path) -> None:
    for page in [*copy.glob("*.html"), copy / "report.md"]:
        text = page.read_text(encoding="utf-8")
        assert str(Path.home()) + "/" not in text, page
        assert "/tmp/" not in text, page


def test_what_has_not_finished_or_is_gone_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no run\.json"):
        api.report(tmp_path / "nowhere")
    (tmp_path / "data.csv").unlink()
    with pytest.raises((ConfigError, TableError), match="no such file"):
        api.report(copy)
    log = copy / "log.jsonl"
    log.write_text("\n".join(line for line in log.read_text().splitlines() if '"end"' not in line) + "\n")
    with pytest.raises(CheckpointError, match="has not finished training; resume it"):
        api.report(copy)
