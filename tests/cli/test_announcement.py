"""The first line of a training: before heavy imports, from the beginning of the file alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from polysense.cli import announcement
from polysense.cli.announcement import first_line
from polysense.errors import ConfigError


def test_a_small_table_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a;b;label\n" + "1;2;x\n" * 30, encoding="utf-8")
    line = first_line(path, ["label"], None)
    assert "reading table.csv (about 30 rows of 3 columns)" in line
    assert "to predict label" in line
    assert "usually up to 4 minutes on two cores" in line
    assert "in 25s at most" in first_line(path, ["label"], "25s")
    with pytest.raises(ConfigError, match="time: found '10x', expected a duration"):
        first_line(path, ["label"], "10x")


def test_a_large_table_is_estimated_from_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement, "_READ", 4096)
    path = tmp_path / "table.tsv"
    path.write_text("a\tb\n" + "some words\t12\n" * 40_000, encoding="utf-8")
    line = first_line(path, [], None)
    rows = int(line.split("about ")[1].split(" rows")[0].replace(",", ""))
    assert rows == pytest.approx(40_000, rel=0.01)
    assert "minutes to hours" in line


@pytest.mark.parametrize("name", ["table.parquet", "recipe.yaml"])
def test_what_cannot_be_counted_is_named_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert f"reading {name}, then" in first_line(tmp_path / name, [], None)


@pytest.mark.parametrize("name", ["missing.csv", "folder.csv"])
def test_of_what_is_no_file_nothing_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert first_line(tmp_path / name, [], None) == ""


def test_the_line_is_said_before_torch_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,label\n" + "1,x\n2,y\n" * 20, encoding="utf-8")
    code = (
        "import logging, os, sys\n"
        "from polysense.cli import app, console\n"
        "class First(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        heavy = sorted({'torch', 'sklearn', 'scipy', 'polars'} & {*sys.modules})\n"
        "        print(record.getMessage(), heavy, flush=True)\n"
        "        os._exit(0)\n"
        "logging.getLogger('polysense').addHandler(First())\n"
        "app.main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", str(path), "--target", "label", "-o", str(tmp_path / "run")],
        capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert done.stdout.startswith("plan: reading table.csv (about 40 rows of 2 columns)")
    assert done.stdout.rstrip().endswith("[]")
