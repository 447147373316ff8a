from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from polysense.cli.app import main


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    generator = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["x", "y", "label"])
        for k in range(60):
            rows.writerow(
                [round(float(generator.normal() + 4 * (k % 2)), 4), round(float(generator.normal()), 4), k % 2]
            )
    return path


def test_strategies_are_tried_from_the_command_line(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["label", str(table), "--target", "label", "--simulate", "--strategy", "margin", "--seeds", "2",
            "--numbers", "4,8", "--columns", "x", "-o", str(tmp_path / "out")]  # fmt: skip
    assert main([*line, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown["curves"]) == ["random", "margin"]
    assert shown["numbers"] == [4, 8]
    assert "x (without weights" in shown["features"]
    assert [Path(path).name for path in shown["output"]] == ["labeling.html", "labeling.json"]
    assert all(Path(path).is_file() for path in shown["output"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--simulate", "--numbers", "4,x"], "--numbers 4,x: expected whole numbers"),
        (["--simulate", "--export", "out.csv"], "found several of --export, --import and --simulate"),
        (["data.split.test=0.5"], "expected keys of a recipe with --simulate only"),
        (["--simulate", "--strategy", "margn"], "did you mean 'margin'"),
    ],
)
def test_what_is_wrong_is_one_message(
    table: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", str(table), "--target", "label", *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
