"""The benchmark of labeling strategies times each of them, and knows where its tables are."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "label_strategies.py"


def test_every_strategy_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(SCRIPT))["measure_time"](150, 4, num_classes=2)
    head, rule, *rows = capsys.readouterr().out.splitlines()[1:]
    assert "| badge | entropy | k_center | margin | random | typical |" in head
    assert rule.count("---") == 9
    assert len(rows) == 2  # no more labels than rows
    assert all(float(cell) >= 0 for cell in rows[1].strip("| ").split(" | ")[1:])


def test_tables_that_are_not_there_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(SCRIPT))["measure"](tmp_path, tmp_path, None, 2, None)
    assert len(capsys.readouterr().out.splitlines()) == 2
