"""The benchmark of pretraining: shares of labels are nested and stratified, steps are equal, and it runs."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmark_scripts import load

import polysense
from polysense.data.tables.sources import read_table


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load("pretraining")


def rows(num: int) -> list[dict[str, object]]:
    draws = np.random.default_rng(0)
    found = []
    for index in range(num):
        x = float(draws.normal())
        label = "yes" if x > 0 else "no"
        split = ("train", "train", "train", "validation", "test")[index % 5]
        found.append({"x": x, "y": x + 0.1 * float(draws.normal()), "label": label, "split": split})
    return found


def test_a_smaller_share_lies_in_a_larger_one_and_has_every_class(benchmark: ModuleType) -> None:
    table = read_table([{**row, "number": index} for index, row in enumerate(rows(200))])
    parts = [
        {int(cell) for cell in benchmark.labeled(table, "label", share, 3).cells("number")}
        for share in (0.001, 0.1, 0.5, 1.0)
    ]
    assert [len(part) for part in parts] == [2, 20, 100, 200]
    assert all(small < large for small, large in itertools.pairwise(parts))
    for part in parts:
        assert {str(table.cell(row, "label")) for row in part} == {"yes", "no"}
    other = {int(cell) for cell in benchmark.labeled(table, "label", 0.1, 4).cells("number")}
    assert other != parts[1]


@pytest.mark.parametrize(("steps", "num_rows", "batch_size", "expected"), [(100, 10, 10, 100), (100, 95, 10, 10)])
def test_fewer_rows_make_as_many_steps(
    benchmark: ModuleType, steps: int, num_rows: int, batch_size: int, expected: int
) -> None:
    assert benchmark.epochs_for(steps, num_rows, batch_size) == expected


@pytest.mark.slow
def test_it_runs_and_prints_both_sides(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    found = rows(100)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    small = ["model.width=16", "training.epochs=1", "training.tensorboard=false", "evaluation.bootstrap=0"]
    small += ["evaluation.report=false", "evaluation.contribution=false", "data.num_workers=0"]
    polysense.fit(
        path, task="retrieval", target=["x", "y"], columns={"x": "number", "y": "number", "label": "ignored"},
        output=tmp_path / "pre", overrides=small, preset="fast", progress=False,
    )  # fmt: skip
    arguments = [
        str(path),
        "label",
        str(tmp_path / "pre"),
        "--columns",
        "x",
        "y",
        "--shares",
        "0.1",
        "1",
        "--seeds",
        "2",
    ]
    arguments += ["--steps", "4", "-o", str(tmp_path / "out"), "--preset", "fast", "--set", *small]
    arguments += ["evaluation.simple_baselines=false", "data.features={}", "model.heads.label.estimators={}"]
    assert benchmark.main(arguments) == 0
    listed = capsys.readouterr().out
    assert "Moved: encoders.x, encoders.y, fusion" in listed
    lines = [line for line in listed.splitlines() if line.startswith("| 1")]
    assert [line.split(" | ")[0] for line in lines] == ["| 10%", "| 100%"]
    assert benchmark.main(arguments) == 0  # what is done is read again
    assert capsys.readouterr().out == listed
