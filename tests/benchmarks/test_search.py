"""The benchmark of the index runs, tiny, and its table says what docs/results.md quotes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_scripts import load


@pytest.mark.parametrize("engine", ["folder", "lance"])
def test_the_table_has_every_line(engine: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    module = load("search")
    module.main(["--rows", "2000", "--dim", "16", "--queries", "30", "--folder", str(tmp_path), "--engine", engine])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"| 2,000 x 16, {engine} | |"
    named = {line.split("|")[1].strip(): line for line in lines}
    assert {"written", "on disk", "exact, p50 / p99", "graph, p50 / p99", "graph, recall@10 on new draws"} <= {*named}
    assert list(tmp_path.iterdir()) == []
