"""A finished run's report is written again from its folder; what is no finished run is refused by name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_processes import timeless

import polysense
from polysense import api
from polysense.errors import CheckpointError, ConfigError, TableError
from polysense.nn.model import MultimodalModel
from polysense.workflows import report as again


@pytest.fixture
def copy(trained: Callable[[str], polysense.Run], tmp_path: Path) -> Path:
    """A copy of a run that finds its table as the run did."""
    run = trained("classification")
    for path in run.folder.parent.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    return Path(shutil.copytree(run.folder, tmp_path / run.folder.name))


def test_the_same_files_are_written_again_and_nothing_is_measured(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = timeless(copy)
    for name in ("report.html", "report.md", "metrics.json", "verdict.json", "audit.json", "contribution.json"):
        (copy / name).unlink()
    monkeypatch.delattr(MultimodalModel, "predict")
    path = api.report(copy)
    assert path.name == "report.html"
    assert timeless(copy) == before


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("results.json", lambda text: text[:-100], "those in its folder can't be read"),
        ("results.json", lambda text: text.replace('"num_resamples"', '"resamples"'), "can't be read"),
        ("results.json", lambda text: re.sub(r'"version": "[^"]*"', '"version": "0"', text), "another version"),
        ("results.json", lambda text: re.sub(r'"model": "[^"]*"', '"model": "0"', text), "of another model"),
        ("results.json", lambda text: re.sub(r'"tables": "[^"]*"', '"tables": "0"', text), "a table has changed"),
        ("results.json", None, "its folder holds none"),
        ("statistics.npz", None, "its folder holds none"),
    ],
)
def test_what_can_not_be_shown_is_measured_again(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[str], str] | None, reason: str
) -> None:
    file = copy / "measured" / name
    if change is None:
        file.unlink()
    else:
        file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
    measured, said = list[object](), list[str]()
    monkeypatch.setattr(again, "measure", lambda *arguments, **options: measured.append(arguments))
    monkeypatch.setattr(again._log, "info", lambda text, *arguments: said.append(text % arguments))
    api.report(copy)
    assert len(measured) == 1
    assert re.search(rf"measuring the model again, since its results can't be shown: .*{re.escape(reason)}", said[0])


def test_measured_again_the_scores_are_the_same(copy: Path) -> None:
    before = timeless(copy)
    shutil.rmtree(copy / "measured")
    api.report(copy)
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
