"""Column importance in less time: fewer subsets first, then fewer rows, and both are said; verdicts' subsets stay."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

import polysense
from polysense.bundle import load
from polysense.data.tables.sources import read_table
from polysense.training.time_plan import Deadline
from polysense.workflows.audit.columns import measured_contributions

ROWS, COLUMNS = 900, 8


def test_subsets_and_then_rows_are_left_out_for_lack_of_time(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    values = draws.normal(size=(ROWS, COLUMNS))
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{i}" for i in range(COLUMNS)), "label"])
        writer.writerows([*row, "yes" if row[0] > 0 else "no"] for row in values)
    overrides = [
        "model.heads.label={type: classification}", "evaluation.simple_baselines=false", "evaluation.report=false",
        "evaluation.contribution=false", "evaluation.samples=0", "training.epochs=1", "training.tensorboard=false",
        "audit=off",
    ]  # fmt: skip
    polysense.fit(
        path, target="label", preset="fast", output=tmp_path / "run", overrides=overrides, progress=False
    )  # fmt: skip
    bundle, table = load(tmp_path / "run"), read_table(path)
    everything = measured_contributions(bundle, table, max_rows=2000, bootstrap=20, seed=0, deadline=Deadline(600.0))
    none = Deadline(0.0)
    fewest = measured_contributions(bundle, table, max_rows=2000, bootstrap=20, seed=0, deadline=none)
    (whole,), (part,) = everything.targets, fewest.targets
    assert whole.num_rows == ROWS
    assert part.num_rows == 400
    assert fewest.num_available == ROWS
    # Each column alone and all but one, which the verdicts are read from, are in both.
    for of, most in ((whole, 128), (part, 40)):
        subsets = {columns for columns, _ in of.subsets}
        assert len(subsets) <= most
        assert {len(each) for each in subsets} >= {0, 1, COLUMNS - 1, COLUMNS}
        assert len([each for each in subsets if len(each) in (1, COLUMNS - 1)]) == 2 * COLUMNS
    assert none.left_out == [
        f"column importance by more than {len(part.subsets)} of {len(whole.subsets)} subsets of the columns",
        "column importance on more than 400 of 900 rows",
    ]
