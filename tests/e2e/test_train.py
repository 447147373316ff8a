"""From a table to a trained, measured, saved model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

import polysense
from polysense.errors import BundleError, CheckpointError, ColumnError, ConfigError, TableError

INPUTS = ("the photo", "sound", "note", "weight (kg)", "shop")


def test_the_run_folder_holds_what_the_documentation_says(run: polysense.Run) -> None:
    files = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert files >= {
        "recipe.yaml",
        "log.jsonl",
        "train.log",
        "metrics.json",
        "baselines.json",
        "contribution.json",
        "unreadable.jsonl",
        "report.html",
        "report.md",
        "environment.json",
        "verdict.json",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "bundle/bundle.json",
        "bundle/README.md",
        "bundle/weights.safetensors",
        "bundle/processor/processor.json",
    }
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin"))]


def test_metrics_are_split_head_metric_value_low_high(run: polysense.Run) -> None:
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert set(metrics) == {"validation", "test", "simple_baselines"}
    assert set(metrics["simple_baselines"]) == {"validation", "test"}
    accuracy = metrics["test"]["label"]["accuracy"]
    assert set(accuracy) == {"value", "low", "high"}
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1


def test_every_unreadable_cell_is_listed_with_file_and_reason(run: polysense.Run) -> None:
    cells = [json.loads(line) for line in (run.folder / "unreadable.jsonl").read_text().splitlines()]
    found = {(cell["row"], cell["column"]) for cell in cells}
    assert found == {(1, "the photo"), (2, "sound"), (4, "the photo")}
    assert all(cell["file"] and cell["reason"] and cell["table"] == "data.csv" for cell in cells)


def test_it_learns_and_says_what_each_column_contributes(run: polysense.Run) -> None:
    longer = polysense.fit(
        run.recipe.data.table,
        target="label",
        output=run.folder.parent / "longer",
        preset="fast",
        overrides=[
            "training.epochs=12",
            "model.width=32",
            "training.batch_size=8",
            "evaluation.bootstrap=100",
            "data.split.test=0.2",
        ],
        progress=False,
    )
    assert longer.metrics["test"]["label"]["accuracy"]["value"] >= 0.7
    contribution = json.loads((longer.folder / "contribution.json").read_text())
    assert contribution["summary"] in " ".join(longer.summary().split())
    assert set(contribution["targets"]["label"]["columns"]) == set(longer.bundle.schema.names)


def test_the_recipe_of_a_run_runs_again_to_the_same_bits(run: polysense.Run, tmp_path: Path) -> None:
    again = polysense.fit(run.folder / "recipe.yaml", output=tmp_path / "again", progress=False)
    assert again.metrics == run.metrics
    assert (tmp_path / "again/bundle/weights.safetensors").read_bytes() == (
        run.folder / "bundle/weights.safetensors"
    ).read_bytes()


def test_predict_in_a_fresh_process_without_training_dependencies(run: polysense.Run, table: Path) -> None:
    code = f"""
import json, sys
import polysense
predictions = polysense.load({str(run.folder)!r}).predict({str(table)!r})
loaded = [name for name in ("polysense.training", "torch.utils.tensorboard", "torchvision", "transformers",
          "torchmetrics", "matplotlib", "sklearn", "pandas") if name in sys.modules]
print(json.dumps({{"labels": predictions.frame["label"].to_list(), "loaded": loaded}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout)
    assert found["loaded"] == []
    assert found["labels"] == run.bundle.predict(table).frame["label"].to_list()


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        (["model.heads.label.estimators={}", "evaluation.simple_baselines=false"], set()),
        ([], {"sklearn", "scipy.stats", "pandas"}),
    ],
    ids=["networks alone", "with simple models"],
)
def test_a_whole_training_loads_nothing_heavy(
    settings: list[str], accepted: set[str], table: Path, tmp_path: Path
) -> None:
    """Each costs 60 MiB and more.

    Accepted are: torch.optim's classes bring torch._dynamo and sympy (150 MiB, 2 s, which timm brings as well),
    scipy.optimize fits the default fusion's votes after the training (36 MiB), and scikit-learn, with scipy.stats and
    pandas where it is installed, fits the estimators.
    """
    code = f"""
import json, sys
import polysense
polysense.fit({str(table)!r}, target="label", output={str(tmp_path / "run")!r}, preset="fast", progress=False,
              overrides=["training.epochs=1", "training.tensorboard=false", *{settings!r}])
print(json.dumps([name for name in ("torchvision", "transformers", "timm", "torchmetrics", "matplotlib",
                                    "scipy.stats", "sklearn", "pandas") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    assert set(json.loads(done.stdout.splitlines()[-1])) <= accepted


def test_one_row_per_row_and_what_was_missing(run: polysense.Run, table: Path) -> None:
    predictions = run.bundle.predict(table)
    assert len(predictions) == 72
    missing = predictions.frame["missing"].to_list()
    assert missing[0] == "the photo, sound, note, weight (kg)"
    assert "the photo" in missing[1]
    probabilities = predictions.frame.select(polars.col("^label_probability\\[.*$")).to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(predictions.unreadable) == 3


def test_a_bad_row_changes_no_bit_of_the_others(run: polysense.Run, table: Path) -> None:
    frame = polysense.read_table(table).frame
    clean = frame.with_row_index().filter(~polars.col("index").is_in([1, 2, 4])).drop("index")
    whole = run.bundle.predict(frame, root=table.parent).frame
    others = run.bundle.predict(clean, root=table.parent).frame
    retained = whole.with_row_index().filter(~polars.col("index").is_in([1, 2, 4])).drop("index")
    assert retained.drop("row").equals(others.drop("row"))


def test_missing_columns_empty_rows_and_unknown_values_are_predicted(run: polysense.Run, table: Path) -> None:
    bundle = run.bundle
    only_note = bundle.predict({"note": "a red thing"})
    assert only_note.frame["missing"].to_list() == ["the photo, sound, weight (kg), shop"]
    nothing = bundle.predict([{"note": None}, {"something else": 3}])
    assert len(nothing) == 2
    assert nothing.frame["label"].null_count() == 0
    assert nothing.frame[0].drop("row").equals(nothing.frame[1].drop("row"))
    unknown = bundle.predict([{"shop": "west"}, {"weight (kg)": "heavy"}, {"weight (kg)": 1e30}])
    assert len(unknown.unreadable) == 1
    assert "heavy" in unknown.unreadable[0].reason
    assert unknown.frame["label_probability"].is_finite().all()


def test_evaluation_reads_the_answers_it_is_given(run: polysense.Run, table: Path, tmp_path: Path) -> None:
    scores = polysense.evaluate(run.folder, table, bootstrap=50)
    predicted = run.bundle.predict(table).frame["label"].to_list()
    truth = polysense.read_table(table).frame["label"].to_list()
    accuracy = np.mean([p == t for p, t in zip(predicted, truth, strict=True)])
    assert scores.metrics["label"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert "majority" in scores.text()
    frame = polysense.read_table(table).frame.with_columns(polars.lit("mango").alias("label"))
    with pytest.raises(TableError, match=r"no row has a target that can be read.*mango"):
        polysense.evaluate(run.folder, frame)
    with pytest.raises(TableError, match="no target column 'label'"):
        polysense.evaluate(run.folder, frame.drop("label"))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_predictions_are_written_and_read_back(run: polysense.Run, table: Path, tmp_path: Path, ending: str) -> None:
    predictions = run.bundle.predict(table)
    predictions.write(tmp_path / f"out.{ending}")
    back = polysense.read_table(tmp_path / f"out.{ending}").frame
    assert back["label"].to_list() == predictions.frame["label"].to_list()
    listed = (tmp_path / f"out.{ending}.unreadable.jsonl").read_text().splitlines()
    assert len(listed) == 3
    with pytest.raises(TableError, match=r"can't write \.xls"):
        predictions.write(tmp_path / "out.xls")


def test_resume_goes_on_and_finished_runs_say_so(
    run: polysense.Run, table: Path, tmp_path: Path, small: tuple[str, ...]
) -> None:
    def fit(folder: str, **options: object) -> polysense.Run:
        return polysense.fit(
            table,
            target="label",
            output=tmp_path / folder,
            preset="fast",
            progress=False,
            **options,  # type: ignore[arg-type]
        )

    straight = fit(
        "straight",
        overrides=[*small, "training.epochs=3", "training.schedule.type=constant", "training.schedule.warmup=0.0"],
    )
    part = fit(
        "part",
        overrides=[*small, "training.epochs=1", "training.schedule.type=constant", "training.schedule.warmup=0.0"],
    )
    resumed = polysense.fit(part.folder, resume=True, overrides=["training.epochs=3"], progress=False)
    assert resumed.training.epochs == 3
    assert (resumed.folder / "bundle/weights.safetensors").read_bytes() == (
        straight.folder / "bundle/weights.safetensors"
    ).read_bytes()
    assert resumed.metrics == straight.metrics
    with pytest.raises(CheckpointError, match=r"holds no run\.json"):
        polysense.fit(tmp_path / "none", resume=True)
    with pytest.raises(ConfigError, match="holds a run already"):
        fit("straight", overrides=small)


def test_baselines_of_each_column_alone_and_their_ensemble(
    make_table: Callable[..., Path], tmp_path: Path, small: tuple[str, ...]
) -> None:
    table = make_table(tmp_path / "data", 40)
    run = polysense.fit(
        table,
        target="label",
        output=tmp_path / "run",
        preset="fast",
        overrides=[*small, "evaluation.baselines=true", "training.epochs=1"],
        columns={"note": "ignored", "sound": "ignored", "shop": "ignored"},
        progress=False,
    )
    assert list(run.baselines["test"]) == [
        "constant",
        "the photo only (trained separately)",
        "weight (kg) only (trained separately)",
        "Unimodal ensemble",
    ]
    assert run.bundle.schema.names == ("the photo", "weight (kg)")


def test_several_targets_weights_and_regression(trained: Callable[[str], polysense.Run], tmp_path: Path) -> None:
    run = trained("several")
    assert {target.name: str(target.task) for target in run.bundle.schema.targets} == {
        "label": "classification",
        "size": "regression",
        "tags": "multilabel",
    }
    predicted = run.bundle.predict([{"note": "a green thing"}]).frame
    assert {"label", "size", "tags", "missing"} <= set(predicted.columns)
    assert set(run.metrics["test"]) == {"label", "size", "tags"}
    with pytest.raises(ConfigError, match=r"data\.table is not set"):
        polysense.fit(run.folder / "recipe.yaml", output=tmp_path / "again", progress=False)


@pytest.mark.parametrize(
    ("error", "facts", "options"),
    [
        (TableError, "'lable'.*'label'", {"target": "lable"}),
        (ConfigError, "no target is named", {}),
        (ConfigError, r"training\.epoch: no such key; did you mean 'epochs'", {"overrides": ["training.epoch=3"]}),
        (ConfigError, r"model\.fusion: .*'concatt'.*'concat'", {"overrides": ["model.fusion.type=concatt"]}),
        (ConfigError, "'huge'", {"preset": "huge"}),
        (ColumnError, "no column can serve as an input", {"columns": dict.fromkeys(INPUTS, "ignored")}),
    ],
)
def test_user_errors_say_what_and_where(
    table: Path, tmp_path: Path, error: type[Exception], facts: str, options: dict[str, Any]
) -> None:
    target = {} if facts == "no target is named" else {"target": "label"}
    with pytest.raises(error, match=facts):
        polysense.fit(table, output=tmp_path / "a", **{**target, **options})


def test_a_folder_that_is_no_bundle_or_a_broken_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected a bundle"):
        polysense.load(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="broken"):
        polysense.load(broken)


def test_results_are_short_in_a_session_and_whole_in_a_notebook(run: polysense.Run, table: Path) -> None:
    bundle = polysense.load(run.folder)
    assert len(repr(bundle).splitlines()) == 1
    assert repr(bundle).startswith(f"Bundle('{run.folder / 'bundle'}': ")
    assert "the photo (image), sound (audio), note (text)" in repr(bundle)
    assert "-> label (classification); " in repr(bundle)
    assert repr(run).startswith(f"Run('{run.folder}'; validation: label accuracy ")
    predictions = bundle.predict(table)
    assert repr(predictions).startswith(f"Predictions of {len(predictions)} rows")
    assert "<table" in predictions._repr_html_()
    scores, check = polysense.evaluate(run.folder, table, bootstrap=0), polysense.check(table, target="label")
    assert repr(scores).startswith(f"Scores('{table.name}', {len(predictions)} rows: label accuracy ")
    size = f"{check.num_rows} rows, {len(check.columns)} columns"
    assert repr(check) == f"Check('{check.table}': {size}; it can be trained on)"
    for result in (run, bundle, scores, check):
        assert result._repr_html_().startswith("<pre>")
        assert "label" in result._repr_html_()
