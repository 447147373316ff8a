"""Few-shot classification from a trained bundle: rows, labels and splits that are what they are said to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from runs import RunOnce

import polysense
from polysense.cli.app import main
from polysense.data.tables.sources import read_table
from polysense.errors import ColumnError, ConfigError, PolysenseError
from polysense.workflows.representation.features import choose_features, features, random_model

SMALL = ["model.width=16", "training.epochs=8", "evaluation.bootstrap=0", "evaluation.contribution=false"]


def write_table(path: Path) -> Path:
    """Two numbers that say the label and the quarter; some rows lack them."""
    draws = np.random.default_rng(0)
    rows = []
    for i in range(160):
        x, y = draws.random(2)
        rows.append(
            {
                "x": None if i % 40 in (3, 4) else float(x),
                "y": None if i % 40 in (3, 4, 5) else float(y),
                "label": "yes" if x > 0.5 else "no",
                "quarter": f"{'right' if x > 0.5 else 'left'} {'top' if y > 0.5 else 'bottom'}",
                "sum": float(x + y),
                "rare": "rare" if i % 32 == 1 else "usual",
                "part": "train" if i % 4 else "test",
                "only": "train" if i % 4 else "val",
            }
        )
    pl.DataFrame(rows).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def run(run_once: RunOnce) -> polysense.Run:
    ignored = dict.fromkeys(("quarter", "sum", "rare", "only"), "ignored")

    def train(to: Path) -> polysense.Run:
        return polysense.fit(
            write_table(to / "t.parquet"),
            target="label",
            columns={**ignored, "part": "split"},
            output=to / "run",
            overrides=SMALL,
            progress=False,
        )

    return run_once("few shots", train)


@pytest.fixture(scope="module")
def table(run: polysense.Run) -> Path:
    """The very table that the run was trained on, whichever worker trained it: it is split as it was in training."""
    return Path(run.folder).parent / "t.parquet"


def few(run: polysense.Run, source: Any, **options: Any) -> Any:
    options = {"shots": [1, 4], "draws": 3, "methods": ["prototypes", "knn"]} | options
    return polysense.fewshot(run.folder, source, **({"target": "quarter"} | options))


def test_labels_are_cleaned_as_the_model_s_own_are(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    rows = [{"x": float(draws.random()), "part": "train" if i % 4 else "test"} for i in range(80)]
    spelled = [{**row, "label": "yes" if row["x"] > 0.5 else "no"} for row in rows]
    spelled = [{**row, "label": row["label"].upper() if i % 3 == 0 else row["label"]} for i, row in enumerate(spelled)]
    run = polysense.fit(
        spelled, target="label", columns={"part": "split"}, output=tmp_path / "run", progress=False,
        overrides=[*SMALL, "training.epochs=1", "data.cleaning.label=[merge_variants]"],
    )  # fmt: skip
    assert few(run, spelled, target="label").measured.classes == ("no", "yes")


def test_what_the_model_never_heard_of_is_read_off_its_features(run: polysense.Run, table: Path) -> None:
    found = few(run, table, shots=[2, 16, None], methods=["prototypes", "linear_probe"]).measured
    assert found.split == "test"
    assert found.num_test == 36, "four of the 40 test rows have neither number"
    assert sum(found.class_counts) < 120, "the validation rows are not drawn from"
    assert found.classes == ("left bottom", "left top", "right bottom", "right top")
    everything = found.score("trained encoder", "linear_probe", None).accuracy
    assert everything.value > 0.6
    assert everything.value >= found.score("trained encoder", "linear_probe", 2).accuracy.value - 0.1
    assert found.chance == 0.25
    assert any("4 labeled test rows have none" in note for note in found.notes)


def test_the_same_again_and_other_draws_with_another_seed(run: polysense.Run, table: Path) -> None:
    first, again, other = (few(run, table, seed=seed).as_json()["scores"] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_numbers_labels_and_settings_that_can_not_be(run: polysense.Run, table: Path) -> None:
    with pytest.raises(ColumnError, match="needs classes, one per row, and this is regression: numbers from"):
        few(run, table, target="sum")
    with pytest.raises(ConfigError, match=r"'x' is an input of the model.*--columns y"):
        few(run, table, target="x")
    with pytest.raises(PolysenseError, match=r"no target column 'quartier'.*quarter"):
        few(run, table, target="quartier")
    for options, words in (
        ({"shots": [0]}, "from 1 on"),
        ({"draws": 1}, "at least 2"),
        ({"methods": ["svm"]}, "'svm'"),
        ({"columns": ["z"]}, "'z' is no input column; there are: x, y"),
        ({"features_of": "space"}, "no joint embedding space"),
    ):
        with pytest.raises(ConfigError, match=words):
            few(run, table, **options)


def test_a_class_with_few_rows_is_named(run: polysense.Run, table: Path) -> None:
    found = few(run, table, target="rare", shots=[1, 8]).measured
    assert found.short_classes == {8: {"rare": 5}}
    assert found.score("trained encoder", "knn", 8).accuracy.value > 0
    assert "in 1 classes: rare (5)" in found.remarks()[-1]


def test_splits_of_other_tables(run: polysense.Run, table: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(table)
    known, requested = frame.filter(pl.col("part") == "train"), frame.filter(pl.col("part") == "test")
    apart = few(run, known, test=requested).measured
    same = few(run, table).measured
    assert apart.num_test == same.num_test
    assert sum(apart.class_counts) > sum(same.class_counts), "no rows are set aside for validation"
    renamed = frame.with_columns(pl.when(pl.col("part") == "test").then(pl.lit("val")).otherwise("part").alias("part"))
    on_validation = few(run, renamed).measured
    assert on_validation.split == "validation"
    assert "there is no test split" in on_validation.notes[0]
    with pytest.raises(PolysenseError, match="part"):
        few(run, frame.drop("part"))
    others = requested.with_columns(pl.lit("elsewhere").alias("quarter"))
    unknown = few(run, known, test=pl.concat([requested, others])).measured
    assert unknown.num_test == same.num_test
    assert "40 test rows are of a class that no training row has" in unknown.notes[0]


def test_a_row_s_features_are_its_own_and_absent_columns_are_masked(run: polysense.Run, table: Path) -> None:
    bundle, rows = polysense.load(run.folder), read_table(table)
    for kind in ("fused", "tokens"):
        requested = choose_features(bundle, kind)
        (found,), _ = features([bundle.model], bundle, rows, requested)
        (alone,), _ = features([bundle.model], bundle, rows.select([5, 60]), requested)
        np.testing.assert_array_equal(found[[5, 60]], alone)
        assert np.isnan(found[3]).all()
        assert not np.isnan(found[5]).all()
    assert np.isnan(found[5]).any(), "the tokens of y"
    only = choose_features(bundle, "fused", ["x"])
    (of_x,), _ = features([bundle.model], bundle, rows, only)
    (without,), _ = features([bundle.model], bundle, read_table(pl.read_parquet(table).drop("y")), only)
    np.testing.assert_array_equal(of_x, without)


def test_feature_vectors_need_no_encoder(run: polysense.Run, table: Path) -> None:
    result = few(run, table, features_of="vectors", shots=[4], methods=["linear_probe"]).measured
    trained, random = result.scores
    assert trained.accuracy.value == random.accuracy.value > 0.5
    assert trained.gain.value == 0
    assert "without an encoder" in result.features
    with pytest.raises(ConfigError, match="is no input column"):
        few(run, table, features_of="vectors", columns=["label"])


def test_the_random_encoder_has_the_shape_and_nothing_of_the_training(run: polysense.Run) -> None:
    bundle = polysense.load(run.folder)
    before = torch.random.get_rng_state()
    one, again, other = random_model(bundle, 0), random_model(bundle, 0), random_model(bundle, 1)
    assert torch.equal(before, torch.random.get_rng_state())
    trained = bundle.model.state_dict()
    # Estimators are not initialized but fitted, and of the training.
    fitted = {name for name in trained if ".estimators." in name}
    assert not any(one.state_dict()[name].any() for name in fitted)
    for name, weight in one.state_dict().items():
        assert name in fitted or weight.shape == trained[name].shape
        assert torch.equal(weight, again.state_dict()[name])
    matrices = [name for name, weight in trained.items() if weight.dim() > 1 and name not in fitted]
    assert matrices
    assert not any(torch.equal(one.state_dict()[name], trained[name]) for name in matrices)
    assert not all(torch.equal(one.state_dict()[name], other.state_dict()[name]) for name in matrices)


def test_the_command(run: polysense.Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["fewshot", str(run.folder), str(table), "--target", "quarter", "--methods", "prototypes", "--draws", "2"]
    assert main([*line, "--shots", "1,all", "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "prototypes" in said
    assert "random encoder" in said
    assert "chance" in said
    plain = json.loads((tmp_path / "out" / "fewshot.json").read_text())
    assert [score["shots"] for score in plain["scores"]] == [1, 1, None, None]
    assert "<svg" in (tmp_path / "out" / "fewshot.html").read_text()
    assert main([*line, "--json", "-o", str(tmp_path / "page.html")]) == 0
    assert json.loads(capsys.readouterr().out)["num_test"] == 36
    assert main([*line, "--shots", "1,few"]) == 2
    assert "expected whole numbers or all" in capsys.readouterr().err
    assert main([*line, "-o", str(tmp_path / "page.pdf")]) == 2
    assert "can't write .pdf; use .html or .json" in capsys.readouterr().err
    assert main([*line, "-o", str(table)]) == 2
