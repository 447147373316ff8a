"""The benchmark of the index runs, tiny, and its table says what docs/results.md quotes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("engine", ["folder", "lance"])
def test_the_table_has_every_line(engine: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("search_benchmark", ROOT / "benchmarks" / "search.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--rows", "2000", "--dim", "16", "--queries", "30", "--folder", str(tmp_path), "--engine", engine])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"| 2,000 x 16, {engine} | |"
    named = {line.split("|")[1].strip(): line for line in lines}
    assert {"written", "on disk", "exact, p50 / p99", "graph, p50 / p99", "graph, recall@10 on new draws"} <= {*named}
    assert list(tmp_path.iterdir()) == []
