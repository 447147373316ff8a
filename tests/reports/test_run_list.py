"""Runs in a line each: from their files alone, whatever state these are in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polysense.cli.app import main
from polysense.reports.run_list import runs_text, summaries


def make(folder: Path, *, epochs: int, time: str, verdict: dict[str, Any] | None = None) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"tables": {"table": {"rows": 1797}}}))
    events = [{"event": "start", "time": time}, *({"event": "epoch", "epoch": i + 1} for i in range(epochs))]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, events)) + '\n{"event": "ep')
    if verdict is not None:
        (folder / "verdict.json").write_text(json.dumps(verdict))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    headline = {"target": "label", "metric": "balanced_accuracy", "value": 0.868, "low": 0.837, "high": 0.896}
    nothing = {"target": "漢字" * 40, "metric": "r2", "value": None, "low": None, "high": None}
    done = {"targets": [headline, nothing], "seconds": 203.0}
    make(tmp_path / "a-done", epochs=3, time="2026-01-02T10:00:00+00:00", verdict=done)
    make(tmp_path / ("b" * 90), epochs=2, time="2026-01-03T10:00:00+00:00")
    make(tmp_path / "c", epochs=0, time="2026-01-01T10:00:00+00:00")
    (tmp_path / "no run").mkdir()
    (tmp_path / "c" / "run.json").write_text("broken")
    return tmp_path


def test_the_newest_comes_first_and_no_line_is_wider_than_80(runs: Path) -> None:
    found = summaries(runs)
    assert [one.folder.name[:1] for one in found] == ["b", "a", "c"]
    assert [one.state for one in found] == ["2 epochs, not finished", "finished", "not trained"]
    text = runs_text(runs, found)
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for part in ("accuracy", "0.868", "0.837 to", "0.896)", "1,797", "2026-01-02", "3 min 23 s", "not trained"):
        assert part in words, part


def test_the_command_reads_no_torch(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs), "--json"]) == 0
    first, second, _ = json.loads(capsys.readouterr().out)
    assert second["headlines"][0]["value"] == 0.868
    assert first["seconds"] is None
    assert main(["runs", str(runs / "a-done")]) == 0
    assert "a-done" in capsys.readouterr().out
    assert main(["runs", str(runs / "no run")]) == 0
    assert "holds no runs" in capsys.readouterr().out
    assert main(["runs", str(runs / "nowhere")]) == 2
