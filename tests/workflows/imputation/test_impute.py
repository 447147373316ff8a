"""Filling missing cells: only what is missing is written, in the table's own terms, and well enough to be worth it."""

from __future__ import annotations

import csv
import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from model_helpers import row_arrays
from PIL import Image
from runs import RECONSTRUCTED, reconstructed_row

import polysense
from polysense.bundle import Bundle
from polysense.cli.app import main
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import read_table
from polysense.errors import BundleError, ConfigError, TableError
from polysense.workflows.evaluating import evaluate_model
from polysense.workflows.imputation.impute import Imputed

NAMES = list(RECONSTRUCTED)
SMALL = ["model.width=32", "training.epochs=15", "evaluation.bootstrap=20", "data.split.test=0.2"]


def _row(i: int, x: float, folder: Path, *, lost: frozenset[str] = frozenset()) -> list[str]:
    return list(reconstructed_row(i, x, folder, missing=lost).values())


def _write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([NAMES, *rows])
    return path


@pytest.fixture(scope="module")
def run(trained: Callable[[str], polysense.Run]) -> polysense.Run:
    return trained("reconstruction")


@pytest.fixture(scope="module")
def folder(run: polysense.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, its table as train.csv with its images, and room for more."""
    folder = tmp_path_factory.mktemp("table")
    shutil.copytree(run.folder, folder / "run")
    shutil.copytree(run.folder.parent / "photos", folder / "photos")
    shutil.copy(run.folder.parent / "data.csv", folder / "train.csv")
    return folder


@pytest.fixture(scope="module")
def bundle(run: polysense.Run) -> Bundle:
    return polysense.load(run.folder)


@pytest.fixture
def table(folder: Path) -> Path:
    """Rows that each lack one column, one that lacks nothing, and one that holds nothing."""
    rows = [_row(1000 + i, 1.5, folder, lost=frozenset({name})) for i, name in enumerate(NAMES[1:])]
    rows.append(_row(1010, -1.0, folder))
    rows.append(_row(1011, -1.0, folder, lost=frozenset(NAMES[1:])))
    return _write(folder / "new.csv", rows)


def _cells(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_filling_beats_the_mean_on_rows_that_were_held_out(bundle: Bundle) -> None:
    metrics = bundle.info["metrics"]["test"]["reconstruction"]
    for name in ("size, cm", "price", "kind", "day", "photo"):
        found = metrics[f"imputed_skill/{name}"]
        assert found["low"] > 0.2, (name, found)
    assert metrics["accuracy/kind"]["value"] > 0.8
    assert metrics["accuracy/price"]["value"] is None  # a number is neither right nor wrong


def test_the_mean_predictor_has_no_skill(bundle: Bundle, folder: Path) -> None:
    scores = polysense.evaluate(bundle, folder / "train.csv", bootstrap=20)
    mean = scores.baselines["constant"].metrics["reconstruction"]
    assert mean["skill"].value == pytest.approx(0.0, abs=1e-12)
    assert mean["imputed_skill"].value == pytest.approx(0.0, abs=1e-12)
    assert mean["error/price"].value > scores.evaluation.value("reconstruction", "error/price")
    shares = np.mean([float(row[3] == "True") for row in _cells(folder / "train.csv")[1:]])
    assert mean["accuracy/kind"].value == pytest.approx(max(shares, 1 - shares), abs=1e-6)
    assert "imputed" in scores.text()


def test_errors_are_the_heads_own_and_filling_is_a_table_without_the_column(bundle: Bundle, folder: Path) -> None:
    rows = pl.read_csv(folder / "train.csv", infer_schema=False).head(8).to_dicts()
    dataset = TableDataset(read_table(rows, root=folder), bundle.processor)
    found = evaluate_model(bundle.model, dataset).statistics["reconstruction"]
    members = bundle.schema.target("reconstruction").members
    for index, name in enumerate(members):
        if name == "photo":
            continue
        hidden = row_arrays(bundle, [{**row, name: None} for row in rows], "reconstruction", folder)
        whole = [bundle.processor.columns[name].restore(np.asarray(value)) for value in hidden[f"column_{index}"]]
        right = [str(cell) == row[name] for cell, row in zip(whole, rows, strict=True)]
        if name == "kind":
            assert found["imputed_hits"][:, index].tolist() == [float(one) for one in right]
    assert found["errors"].shape == (8, len(members))
    assert not np.isnan(found["imputed_errors"]).any()


def test_only_what_is_missing_is_written(bundle: Bundle, table: Path, folder: Path) -> None:
    before, out = _cells(table), folder / "filled.csv"
    found = polysense.impute(bundle, table, media=folder / "filled_media")
    found.write(out)
    after = _cells(out)
    assert after[0] == [*before[0], "imputed"]
    changed = []
    for row, (old, new) in enumerate(zip(before[1:], after[1:], strict=True)):
        for name, was, now in zip(NAMES, old, new, strict=False):
            if was:
                assert now == was
            elif now:
                changed.append((row, name))
    assert changed == [(i, name) for i, name in enumerate(NAMES[1:])]
    assert [json.loads(row[-1]) for row in after[1:]] == [*([name] for name in NAMES[1:]), [], []]
    # The row that holds nothing is left and reported.
    assert found.empty_rows == (7,)
    assert "1 rows have no present cell" in found.text()
    # In the table's own terms.
    imputed = {name: after[1 + i][NAMES.index(name)] for i, name in enumerate(NAMES[1:])}
    assert imputed["kind"] == "True"
    assert imputed["size, cm"].count(",") == 1
    assert float(imputed["size, cm"].replace(",", ".")) == pytest.approx(115, abs=8)
    assert int(imputed["price"]) == pytest.approx(80, abs=16)
    assert abs(datetime.datetime.strptime(imputed["day"], "%d.%m.%Y") - datetime.datetime(2021, 10, 12)).days < 90
    assert set(imputed["note"].split()) <= {"a", "very", "large", "small", "one"}
    # Beside the table, so its path is written as the table's own are.
    assert imputed["photo"].startswith("filled_media/")
    image = np.asarray(Image.open(folder / imputed["photo"]))
    assert image.shape == (8, 8)
    assert image[6:].mean() > 150 > image[:2].mean()


def test_a_filled_table_reads_and_predicts_like_any_other(bundle: Bundle, table: Path, folder: Path) -> None:
    found = polysense.impute(bundle, table, media=folder / "again_media")
    found.write(folder / "again.csv")
    again = polysense.impute(bundle, folder / "again.csv", media=folder / "again_media")
    assert sum(again.counts.values()) == 0
    assert again.imputed.names == found.imputed.names  # what was filled once stays marked


def test_a_row_is_filled_whatever_the_others_are(bundle: Bundle, table: Path, folder: Path) -> None:
    whole = polysense.impute(bundle, table, media=folder / "a").frame
    rows = pl.read_csv(table, infer_schema=False).to_dicts()
    for i in (0, 3):
        one = polysense.impute(bundle, rows[i : i + 1], root=folder, media=folder / "b").frame
        assert one.row(0) == whole.row(i)


def test_frames_keep_their_types(bundle: Bundle, folder: Path) -> None:
    frame = pl.DataFrame(
        {
            "price": pl.Series([70, None], dtype=pl.Int16),
            "kind": [None, True],
            "day": pl.Series([datetime.date(2021, 5, 5), None]),
            "photo": pl.Series([None, (folder / "photos" / "1.png").read_bytes()], dtype=pl.Binary),
            "other": [1.5, None],
        }
    )
    found = polysense.impute(bundle, frame)
    assert found.frame.schema == {**frame.schema, "imputed": pl.List(pl.String)}
    assert found.frame["imputed"].to_list() == [["kind", "photo"], ["price", "day"]]
    assert found.frame["photo"][0].startswith(b"\x89PNG")
    assert found.frame["other"].to_list() == [1.5, None]
    found.write(folder / "typed.parquet")
    assert pl.read_parquet(folder / "typed.parquet").equals(found.frame)
    with pytest.raises(TableError, match="holds files"):
        found.write(folder / "typed.csv")


def test_columns_can_be_chosen_and_added(bundle: Bundle, folder: Path) -> None:
    rows: list[dict[str, Any]] = [{"price": "90", "size, cm": None, "kind": ""}, {"price": "20", "size, cm": "80,0"}]
    found = polysense.impute(bundle, rows, columns=["size, cm"])
    assert found.frame["imputed"].to_list() == [["size, cm"], []]
    assert not found.frame["kind"][0]
    added = polysense.impute(bundle, rows, columns=["day"])  # the table lacks it: added, since it is named
    assert added.counts == {"day": 2}
    assert all(isinstance(cell, str) for cell in added.frame["day"])
    with pytest.raises(ConfigError, match="'weight' is none of those that the model reconstructs"):
        polysense.impute(bundle, rows, columns=["weight"])
    with pytest.raises(ConfigError, match="no folder for images"):
        polysense.impute(bundle, [{"price": 1, "photo": ""}], columns=["photo"])
    assert "no folder" in polysense.impute(bundle, [{"price": 1, "photo": ""}]).refused["photo"]


def test_tables_that_have_nothing_to_fill(bundle: Bundle, folder: Path) -> None:
    with pytest.raises(TableError, match="none of the model's columns"):
        polysense.impute(bundle, [{"a": 1}])
    whole = polysense.impute(bundle, folder / "train.csv", media=folder / "m")
    assert whole.text().endswith("nothing is missing")
    assert whole.frame.drop("imputed").equals(pl.read_csv(folder / "train.csv", infer_schema=False))
    assert not (folder / "m").exists()
    (folder / "none.csv").write_text("price,kind\n")
    none = polysense.impute(bundle, folder / "none.csv", columns=["price"])
    assert none.frame.columns == ["price", "kind", "imputed"]
    assert len(none.frame) == 0
    nothing = polysense.impute(bundle, [{"price": None, "kind": "NA"}] * 3)
    assert nothing.empty_rows == (0, 1, 2)
    assert nothing.frame["price"].to_list() == [None] * 3


def test_unreadable_cells_stay_unless_told_otherwise(bundle: Bundle) -> None:
    rows = [{"price": "ninety", "size, cm": "120,0", "kind": None}, {"price": "x", "size, cm": "90,0", "kind": "False"}]
    retained = polysense.impute(bundle, rows)
    assert retained.frame["price"].to_list() == ["ninety", "x"]
    assert [cell.source.row for cell in retained.unreadable] == [0]  # of the rows that had something to fill
    imputed = polysense.impute(bundle, rows, unreadable="fill")
    assert imputed.frame["imputed"].to_list() == [["price", "kind"], ["price"]]
    assert all(cell.isdigit() for cell in imputed.frame["price"])
    assert dict(imputed.missing) == {"price": 2, "size, cm": 0, "kind": 1} == {"size, cm": 0, **imputed.counts}


def test_a_model_that_restores_nothing_is_refused(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    overrides = ["model.width=16", "training.epochs=1", "evaluation.bootstrap=0"]
    run = polysense.fit(rows, target="label", output=tmp_path / "run", overrides=overrides, progress=False)
    with pytest.raises(BundleError, match=r"reconstructs no columns.*--task reconstruction"):
        polysense.impute(run.bundle, rows)


def test_the_command(
    bundle: Bundle, table: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(folder / "run")
    assert main(["impute", run, str(table), "-o", str(tmp_path / "out.jsonl"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"]["price"] == {"missing": 2, "filled": 1, "skill": pytest.approx(0.8, abs=0.6)}
    assert found["empty_rows"] == [7]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["imputed"] for line in lines][:2] == [["size, cm"], ["price"]]
    assert lines[4]["photo"].startswith("out_media/")
    # The table's folder is another one: its own paths lead to the same files from here.
    column = _cells(table)[0].index("photo")
    there = [row[column] for row in _cells(table)[1:]]
    stood = [(cell, line["photo"]) for cell, line in zip(there, lines, strict=True) if cell]
    assert all((tmp_path / new).samefile(table.parent / cell) and new != cell for cell, new in stood)
    assert all((tmp_path / line["photo"]).is_file() for line in lines if "photo" in line["imputed"])

    assert main(["impute", run, str(table), "--columns", '"size, cm",price', "--only-report"]) == 0
    listed = capsys.readouterr().out
    assert "size, cm: 1 of 2 missing cells would be imputed" in listed
    assert "photo" not in listed
    assert main(["impute", run, str(table), "--only-report", "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported == {**found, "output": None}
    assert not (tmp_path / "table_media").exists()

    assert main(["impute", run, str(table)]) == 2
    assert "-o" in capsys.readouterr().err
    assert main(["impute", run, str(table), "-o", str(tmp_path / "out.xlsx")]) == 2
    assert main(["impute", run, str(table), "-o", str(table)]) == 2
    assert "--force" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["impute", run, str(table), "-o", str(tmp_path / "file" / "out.csv")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_table_is_replaced_by_force_and_whole(bundle: Bundle, table: Path, folder: Path) -> None:
    before = _cells(table)
    assert main(["impute", str(folder / "run"), str(table), "-o", str(table), "--force"]) == 0
    after = _cells(table)
    assert [row[0] for row in after] == [row[0] for row in before]
    assert not list(folder.glob(".*.part"))


def test_predictions_are_anomaly_scores(bundle: Bundle, folder: Path) -> None:
    rows = pl.read_csv(folder / "train.csv", infer_schema=False).head(30).to_dicts()
    rows[7]["price"] = str(150 - int(rows[7]["price"]) + 60)  # what no other column agrees with
    rows[9] = dict.fromkeys(rows[9])
    frame = bundle.predict(rows, root=folder).frame
    assert frame["reconstruction.price.error"].arg_max() == 7
    assert frame["reconstruction.error"].arg_max() == 7
    assert frame["reconstruction.error"][9] is None
    assert frame["reconstruction.price.error"].null_count() == 1
    errors = frame.select(f"reconstruction.{name}.error" for name in bundle.schema.names)
    assert frame["reconstruction.error"].to_list()[:5] == pytest.approx(errors.mean_horizontal().to_list()[:5])


def test_the_code_is_the_embedding(bundle: Bundle, folder: Path) -> None:
    rows, vectors = polysense.embed(bundle, folder / "train.csv")
    assert np.array_equal(vectors, row_arrays(bundle, folder / "train.csv", "reconstruction")["values"])
    assert len(rows) == 200


def test_a_report_reads_well() -> None:
    from polysense.workflows.imputation.imputed_table import ImputedTable

    raw = pl.DataFrame({"a": [None, "x"], "b": ["", "y"]})
    found = Imputed(
        table="t.csv",
        imputed=ImputedTable(raw=raw, cells={"a": {0: "z"}}),
        missing={"a": 1, "b": 1},
        undecided={"b": 1},
        skills={"a": -0.1, "b": 0.5},
        refused={"c": "its categories are hashed"},
    )
    assert found.text().splitlines() == [
        "t.csv: 2 rows",
        "  a: 1 of 1 missing cells imputed (no better than the training mean, by the model's own evaluation)",
        "  b: 0 of 1 missing cells imputed, 1 left missing: the model generates an empty text",
        "  c: not imputed: its categories are hashed",
    ]
