"""Out-of-fold runs: the scores are of the fold models, the model delivered is the refit, and a stopped run goes on."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from run_processes import timeless
from tiny_run import TINY

import polysense
from polysense import api
from polysense.bundle import load
from polysense.core.json import read_json
from polysense.errors import CheckpointError, ConfigError, TrainingInterrupted
from polysense.training.trainer import Trainer
from polysense.workflows.folds.plan import plan_folds
from polysense.workflows.prepare import prepare

SMALL = tuple(setting for setting in TINY if "baselines" not in setting)


def write(path: Path, num_rows: int = 48, *, rare: int = 6, missing: int = 4) -> Path:
    """Two columns that tell one of three classes; some labels are missing, and a cell can't be read."""
    labels = ["c" if i < rare else "ab"[i % 2] for i in range(num_rows)]
    told = ["" if rare <= i < rare + missing else label for i, label in enumerate(labels)]
    lines = [
        f"{said},{'abc'.index(label) + i * 7 % 10 / 12:.2f},{'pqr'[i % 3]},g{i % 8}"
        for i, (said, label) in enumerate(zip(told, labels, strict=True))
    ]
    lines[20] = lines[20].split(",")[0] + ",heavy,p,g4"
    path.write_text("\n".join(["label,size,shop,family", *lines]) + "\n")
    return path


def fit(table: Any, folder: Path, *overrides: str, folds: int = 3, **options: Any) -> polysense.Run:
    return polysense.fit(
        table,
        target=options.pop("target", "label"),
        output=folder,
        preset="fast",
        progress=False,
        overrides=[*SMALL, *overrides],
        folds=folds,
        **options,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[polysense.Run, Path]:
    table = write(tmp_path_factory.mktemp("folds") / "data.csv")
    return fit(table, table.parent / "run"), table


def test_each_row_is_predicted_by_the_model_of_its_fold(finished: tuple[polysense.Run, Path]) -> None:
    run, table = finished
    rows = list(csv.DictReader((run.folder / "out_of_fold.csv").read_text().splitlines()))
    assert [int(row["row"]) for row in rows] == list(range(48))
    for number in (1, 2, 3):
        model = load(run.folder / "folds" / str(number))
        mine = [row for row in rows if int(row["fold"]) == number]
        assert len(mine) == 16
        assert model.info["rows"]["test"] == 16
        assert model.info["rows"]["train"] + model.info["rows"]["validation"] == 32
        every = polysense.predict(model, table).frame
        for row in mine:
            assert row["label"] == every["label"][int(row["row"])]
            assert np.float32(row["label_probability"]) == np.float32(every["label_probability"][int(row["row"])])


def test_the_score_is_of_all_rows_and_says_what_it_is_of(finished: tuple[polysense.Run, Path]) -> None:
    run, _ = finished
    evaluation = run.evaluations["out_of_fold"]
    assert list(run.evaluations) == ["out_of_fold"]
    assert evaluation.num_rows == 48
    assert evaluation.num_counted("label") == 44
    rows = [row for row in csv.DictReader((run.folder / "out_of_fold.csv").read_text().splitlines()) if row["label_"]]
    accuracy = float(np.mean([row["label"] == row["label_"] for row in rows]))
    assert run.metrics["out_of_fold"]["label"]["accuracy"]["value"] == pytest.approx(accuracy)
    metrics = read_json(run.folder / "metrics.json", dict)
    assert metrics["out_of_fold"]["label"]["accuracy"]["value"] == pytest.approx(accuracy)
    said = "3 fold models, each row by the model that did not see it; delivered: the refit on all 48 rows"
    assert read_json(run.folder / "folds.json", dict)["scored"] == said
    assert said in (run.folder / "report.html").read_text()
    assert said in (run.folder / "bundle" / "README.md").read_text()
    words = " ".join(run.summary().split())
    assert said in words
    assert "44 of 48 out-of-fold rows" in words
    (cell,) = evaluation.unreadable
    assert cell.source.row == 20
    assert len((run.folder / "unreadable.jsonl").read_text().splitlines()) == 1


def test_the_delivered_model_was_trained_on_all_rows(finished: tuple[polysense.Run, Path]) -> None:
    run, table = finished
    bundle = load(run.folder)
    assert bundle.info["rows"] == {"train": 48}
    best = sorted(fold["best_epoch"] for fold in bundle.info["folds"]["folds"])
    assert run.training.epochs == best[1]
    assert bundle.recipe["evaluation"]["folds"] == 0
    assert run.recipe.evaluation.folds == 3
    assert len(polysense.predict(run.folder, table, split="train")) == 48


def test_a_test_that_is_given_is_the_headline_and_no_fold_sees_it(tmp_path: Path) -> None:
    table = write(tmp_path / "data.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[1:37]]) + "\n")
    apart = tmp_path / "apart.csv"
    apart.write_text("\n".join([lines[0], *lines[37:]]) + "\n")
    run = fit(table, tmp_path / "run", test=apart)
    assert list(run.evaluations) == ["out_of_fold", "test"]
    assert run.evaluations["out_of_fold"].num_rows == 36
    assert run.evaluations["test"].num_rows == 12
    assert "12 test rows" in (run.folder / "report.html").read_text()
    expected = polysense.evaluate(run.folder, apart, bootstrap=0)
    assert run.metrics["test"]["label"]["log_loss"]["value"] == expected.metrics["label"]["log_loss"]["value"]


def test_groups_are_whole_and_intervals_resample_them(tmp_path: Path) -> None:
    table = write(tmp_path / "data.csv", rare=0)
    group = "data.split={type: group, column: family, validation: 0.2}"
    run = fit(table, tmp_path / "run", group, "evaluation.baselines=true", folds=2)
    folds = pl.read_csv(run.folder / "out_of_fold.csv")["fold"].to_list()
    families = pl.read_csv(table)["family"].to_list()
    assert all(
        len({fold for fold, family in zip(folds, families, strict=True) if family == one}) == 1 for one in families
    )
    clusters = run.evaluations["out_of_fold"].clusters
    assert clusters is not None
    assert len(set(clusters.tolist())) == 8
    assert set(run.as_json()["baselines"]["out_of_fold"]) == {
        "majority-class baseline",
        "size only (trained separately)",
        "shop only (trained separately)",
        "Unimodal ensemble",
    }
    assert (run.folder / "folds" / "2" / "baselines" / "1").is_dir()


def test_a_class_that_a_fold_does_not_train_on_is_a_class_all_the_same(tmp_path: Path) -> None:
    """Two groups have the class: one fold judges one of them, and where the other one chooses, nothing trains on it."""
    table = write(tmp_path / "data.csv", rare=0, missing=0)
    lines = table.read_text().splitlines()
    lines += [f"rare,9.0,p,h{i % 2}" for i in range(4)]
    table.write_text("\n".join(lines) + "\n")
    group = "data.split={type: group, column: family, validation: 0.5}"
    for seed in range(40):
        overrides = [*SMALL, group, f"training.seed={seed}", "evaluation.folds=2"]
        prepared = prepare(table, target="label", overrides=overrides, preset="fast", logs=False)
        plan = plan_folds(prepared.recipe, prepared.table)
        trained = ["rare" in plan.tables(fold)["train"].cells("label") for fold in range(2)]
        if not all(trained):
            break
    else:
        raise AssertionError("no seed leaves a class out")
    run = fit(table, tmp_path / "run", group, f"training.seed={seed}", folds=2)
    evaluation = run.evaluations["out_of_fold"]
    assert evaluation.num_counted("label") == 52
    assert np.isfinite(evaluation.value("label", "log_loss"))
    absent = trained.index(False)
    model = load(run.folder / "folds" / str(absent + 1))
    assert model.schema.target("label").classes == run.bundle.schema.target("label").classes
    assert 0 in model.schema.target("label").class_counts
    rows = plan.judged(absent)
    rare = [i for i in rows.tolist() if plan.rows.cells("label")[i] == "rare"]
    assert rare
    own = evaluation.statistics["label"]
    assert (own["predicted"][rare] != own["truth"][rare]).all()


def test_numbers_in_other_units_in_each_fold(tmp_path: Path) -> None:
    """The refit's margin is that of residuals in the table's units, whatever each fold's own scale."""
    draws = np.random.default_rng(0)
    x = draws.random(60)
    noise = 40 * draws.standard_normal(60)
    prices = [None if i % 20 == 3 else float(price) for i, price in enumerate(1000 * x + 10 + noise)]
    rows = [{"x": float(a), "price": price} for a, price in zip(x, prices, strict=True)]
    settings = [s.replace("heads.label", "heads.price") for s in SMALL]
    run = polysense.fit(
        rows, target="price", output=tmp_path / "run", preset="fast", progress=False, overrides=settings, folds=3
    )
    evaluation = run.evaluations["out_of_fold"]
    assert evaluation.num_counted("price") == 57
    assert evaluation.value("price", "r2") > 0.9
    assert polysense.evaluate(run.bundle, rows, bootstrap=0).evaluation.value("price", "r2") > 0.9


def test_the_same_call_gives_the_same_files(finished: tuple[polysense.Run, Path]) -> None:
    run, table = finished
    again = table.parent / "again" / "run"
    fit(table, again)
    expected, result = timeless(run.folder), timeless(again)
    assert result.keys() == expected.keys()
    for name in expected:
        if not name.endswith(
            ("recipe.yaml", "run.json", "report.html", "report.md", "bundle.json")
        ):  # these name paths
            assert result[name] == expected[name], name
    # Resumed though it is finished: nothing changes.
    polysense.fit(again, resume=True, progress=False)
    assert timeless(again) == result


def test_the_report_is_written_again_from_the_models_of_the_folds(
    finished: tuple[polysense.Run, Path], tmp_path: Path
) -> None:
    run, table = finished
    shutil.copy(table, tmp_path)
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    expected = timeless(folder)
    for name in ("report.html", "report.md", "metrics.json", "verdict.json", "folds.json", "out_of_fold.csv"):
        (folder / name).unlink()
    assert api.report(folder) == folder / "report.html"
    result = timeless(folder)
    assert result.keys() == expected.keys()
    for name in expected:
        if not name.endswith(("recipe.yaml", "run.json", "report.html", "report.md")):
            assert result[name] == expected[name], name
    said = "3 fold models, each row by the model that did not see it; delivered: the refit on all 48 rows"
    assert said in (folder / "report.html").read_text(encoding="utf-8")
    shutil.rmtree(folder / "folds" / "2" / "bundle")
    with pytest.raises(CheckpointError, match="the model of fold 2 of 3 is gone"):
        api.report(folder)


@pytest.mark.parametrize("stopped_at", [1, 3, 7])
def test_a_run_stopped_in_any_training_goes_on_to_the_same_files(
    finished: tuple[polysense.Run, Path], monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    """Stopped in the first fold, in the second, and in the training on all rows."""
    run, table = finished
    folder = table.parent / str(stopped_at) / "run"
    epoch, count = Trainer._epoch, iter(range(100))

    def stopped(self: Trainer, interrupts: Any) -> None:
        if next(count) == stopped_at:
            interrupts.received = "Ctrl-C"
        epoch(self, interrupts)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", stopped)
        if stopped_at == 7 and run.training.epochs == 1:
            patch.setattr(Trainer, "_epoch", epoch)
            patch.setattr("polysense.workflows.fit.score_folds", _interrupted)
        with pytest.raises(TrainingInterrupted, match="Go on with"):
            fit(table, folder)
    with pytest.raises(ConfigError, match="holds a run already"):
        fit(table, folder)
    polysense.fit(folder, resume=True, progress=False)
    expected, result = timeless(run.folder), timeless(folder)
    assert result.keys() == expected.keys()
    for name in expected:
        if not name.endswith(("recipe.yaml", "run.json", "report.html", "report.md", "bundle.json", "train.log")):
            assert result[name] == expected[name], name


def _interrupted(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_more_epochs_train_the_folds_further(finished: tuple[polysense.Run, Path]) -> None:
    run, table = finished
    folder = Path(shutil.copytree(run.folder, table.parent / "longer" / "run"))
    polysense.fit(folder, resume=True, overrides=["training.epochs=3", f"data.table={table}"], progress=False)
    for number in (1, 2, 3):
        lines = (folder / "folds" / str(number) / "log.jsonl").read_text().splitlines()
        assert any('"epoch": 3' in line or '"epoch":3' in line for line in lines)


def test_time_is_shared_by_all_trainings(tmp_path: Path) -> None:
    table = write(tmp_path / "data.csv")
    run = fit(table, tmp_path / "run", "training.epochs=100000", time=30.0)
    assert all(0 < fold["best_epoch"] < 100000 for fold in run.folds["folds"])
    assert any("fold 1 of 3" in what for what in run.left_out)
    # Every row is judged, or it is said that some are not: on a busy machine there is no time for all folds.
    said = [what for what in run.left_out if "rows are not judged" in what]
    assert (run.evaluations["out_of_fold"].num_rows == 48) is (not said)
