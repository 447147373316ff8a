"""A third party's modality keeps every promise that polysense's own keep, and is missed by name where it is not."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import polysense
from polysense.errors import BundleError, ColumnError

Run = Callable[..., str]
TESTS = Path(__file__).parents[1]
CELLS = Path(__file__).parent / "cells"
_TRAIN = """
import json, sys
from pathlib import Path
import polysense

folder, rows = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
rows[3]["position"], rows[4]["position"], rows[5]["position"] = "nonsense", None, ["4k3/8/8/8/8/8/4P3/4K3 w", None]
run = polysense.fit(
    rows, target="ahead", output=folder / "run", progress=False,
    # Not the ensemble, which rightly leaves out a column that says nothing of the target.
    overrides=[
        "model.width=16", "model.heads.ahead={type: classification}", "training.epochs=1", "training.tensorboard=false",
        "evaluation.bootstrap=0",
    ],
)
(folder / "predicted.json").write_text(run.bundle.predict(rows).frame.write_json())
print(json.dumps([[cell.source.column, cell.source.row, cell.reason] for cell in run.bundle.predict(rows).unreadable]))
"""
_PREDICT = """
import json, sys
from pathlib import Path
import polysense

folder, rows = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
bundle = polysense.load(folder / "run")
scores = lambda rows: bundle.predict(rows).frame["ahead_probability"].to_list()
rows[3]["position"], rows[4]["position"], rows[5]["position"] = "nonsense", None, ["4k3/8/8/8/8/8/4P3/4K3 w", None]
print(json.dumps({
    "again": bundle.predict(rows).frame.write_json() == (folder / "predicted.json").read_text(),
    "alone": [scores([row])[0] for row in rows[:6]] == scores(rows)[:6],
    "without": scores([{k: v for k, v in row.items() if k != "position"} for row in rows])
        == scores([{**row, "position": None} for row in rows]),
    "turned": scores([{**row, "position": row["position"]} for row in rows[6:]])
        != scores([{**row, "position": rows[6]["position"]} for row in rows[6:]]),
}))
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = runpy.run_path(str(CELLS / "chess" / "example_cell.py"))["example_cell"]
    rows = [{"position": make(i % 20), "minutes": i % 7, "ahead": "white" if i % 3 else "black"} for i in range(48)]
    path = tmp_path_factory.mktemp("table") / "rows.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_it_trains_and_its_bundle_predicts_alike_in_another_process(run: Run, table: Path, tmp_path: Path) -> None:
    unreadable = json.loads(run(_TRAIN, tmp_path, table).splitlines()[-1])
    assert [cell[:2] for cell in unreadable] == [["position", 3]]
    assert "expected a chess position" in unreadable[0][2]
    promises = json.loads(run(_PREDICT, tmp_path, table).splitlines()[-1])
    assert promises == dict.fromkeys(("again", "alone", "without", "turned"), True)
    # This process does not have the package.
    with pytest.raises(BundleError, match=r"needs polysense-example 0\.1\.0, which is not installed here"):
        polysense.load(tmp_path / "run")
    with pytest.raises(ColumnError, match="'chess', expected one of text"):
        polysense.check(json.loads(table.read_text()), target="ahead", columns={"position": "chess"})


def test_the_tests_of_all_modalities_hold_for_it(installed: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "chess or order"]
    done = subprocess.run(
        [*command, str(TESTS / "modalities" / "test_specs.py")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=installed | {"POLYSENSE_EXAMPLE_CELLS": str(CELLS)},
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
