"""The benchmark of the index runs, tiny, and its table says what docs/results.md quotes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_scripts import load


@pytest.mark.slow
def test_the_table_has_every_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    module = load("search")
    module.main(["--rows", "2000", "--dim", "16", "--queries", "30", "--folder", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| 2,000 x 16 | |"
    names = {line.split("|")[1].strip() for line in lines}
    assert {"written", "on disk", "exact, p50 / p99", "ANN, p50 / p99", "ANN, recall@10 on new draws"} <= names
    assert list(tmp_path.iterdir()) == []
