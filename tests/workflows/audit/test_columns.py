"""Column importance in less time: fewer subsets first, then fewer rows, and both are said; verdicts' subsets stay."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_schema import check_by_schema

import polysense
from polysense.bundle import load
from polysense.core.batch import Batch
from polysense.data.tables.sources import read_table
from polysense.evaluation.audit.result import AuditResult, audit_schema
from polysense.nn.model import MultimodalModel
from polysense.training.time_plan import Deadline
from polysense.workflows.audit import columns
from polysense.workflows.audit.columns import measured_contributions

ROWS, COLUMNS = 900, 8


def trained(folder: Path, num_rows: int, num_columns: int) -> Path:
    """A table of numbers of which the first decides, and a model of it in `run` beside it."""
    draws = np.random.default_rng(0)
    values = draws.normal(size=(num_rows, num_columns))
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{i}" for i in range(num_columns)), "label"])
        writer.writerows([*row, "yes" if row[0] > 0 else "no"] for row in values)
    overrides = [
        "model.heads.label={type: classification}", "evaluation.simple_baselines=false", "evaluation.report=false",
        "evaluation.contribution=false", "evaluation.samples=0", "training.epochs=1", "training.tensorboard=false",
        "audit=off",
    ]  # fmt: skip
    polysense.fit(path, target="label", preset="fast", output=folder / "run", overrides=overrides, progress=False)
    return path


def test_subsets_and_then_rows_are_left_out_for_lack_of_time(tmp_path: Path) -> None:
    path = trained(tmp_path, ROWS, COLUMNS)
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


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    trained(folder, 100, 17)
    return folder


def test_rows_of_a_wide_table_go_through_the_model_many_at_once(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, table = load(wide / "run"), read_table(wide / "table.csv")
    sizes: list[int] = []
    predict = MultimodalModel.predict

    def counted(self: MultimodalModel, batch: Batch, *arguments: Any, **options: Any) -> Any:
        sizes.append(len(batch))
        return predict(self, batch, *arguments, **options)

    monkeypatch.setattr(MultimodalModel, "predict", counted)
    (large,) = measured_contributions(bundle, table, max_rows=100, bootstrap=20, seed=0).targets
    assert sizes == [128], "one block, no larger than its rows ask for"
    monkeypatch.setattr(columns, "MOST_COLUMNS", 17)
    (small,) = measured_contributions(bundle, table, max_rows=100, bootstrap=20, seed=0).targets
    assert sizes[1:] == [32] * 4
    for one, other in zip(large.columns, small.columns, strict=True):
        for measure in large.measures:
            assert one.drop[measure].value == pytest.approx(other.drop[measure].value, abs=1e-5)
            assert one.shapley[measure].value == pytest.approx(other.shapley[measure].value, abs=1e-5)


def test_columns_of_a_wide_table_are_grouped_where_there_is_no_time_for_each(wide: Path) -> None:
    bundle, table = load(wide / "run"), read_table(wide / "table.csv")
    deadline = Deadline(0.0)
    grouped = measured_contributions(bundle, table, max_rows=100, bootstrap=20, seed=0, deadline=deadline)
    (target,) = grouped.targets
    assert target.num_rows == 64
    players = [[*column.members] or [column.name] for column in target.columns]
    assert sorted(name for each in players for name in each) == sorted(bundle.schema.names)
    assert len(players) == 4
    together = sum(len(column.members) for column in target.columns)
    groups = sum(column.is_group for column in target.columns)
    assert deadline.left_out[-1] == (
        f"column importance of each of {together} of 17 columns by itself; they were measured together, as "
        f"{'one group' if groups == 1 else f'{groups} groups'}"
    )
    assert target.sentence().endswith(
        f"{together} of 17 columns were only measured together, so nothing is said of each of them."
    )
    # Together they are what the same model says without all of them at once.
    shares = sum(column.shapley["accuracy"].value for column in target.columns)
    assert shares == pytest.approx(target.full["accuracy"].value - target.nothing["accuracy"].value)
    audit = AuditResult(
        level="quick", split="test", num_rows=100, confidence=0.95, targets=("label",), contributions=grouped,
        parts=(), seconds=0.0, left_out=tuple(deadline.left_out),
    ).as_json()  # fmt: skip
    check_by_schema(audit, audit_schema())
    columns = {column["name"]: column for column in audit["targets"]["label"]["columns"]}
    assert set(columns) == set(bundle.schema.names)
    for group in audit["targets"]["label"]["groups"]:
        assert group["drop"]["value"] is not None
        for name in group["columns"]:
            assert columns[name]["verdict"] == "not measured"
            assert columns[name]["drop"] == {"value": None, "low": None, "high": None}
            assert columns[name]["note"] == f"measured only as one of {group['name']}"
