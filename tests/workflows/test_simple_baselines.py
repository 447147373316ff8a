"""Simple models in a run's report: fitted on its training rows, scored beside the model, and kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polysense
from polysense.core.batch import ValueTruth
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import read_table
from polysense.nn.ensemble_head import EnsembleHead
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.heads.regression import RegressionHeadConfig
from polysense.tasks.regression.record import RegressionTarget
from polysense.training.time_plan import Deadline
from polysense.workflows.estimator_fitting import FittedExperts
from polysense.workflows.feature_rows import FeatureReader, FeatureSource, collect_features
from polysense.workflows.plan import plan_lines
from polysense.workflows.prepare import prepare
from polysense.workflows.score_statistics import out_of_fold_score, plain_head, score_statistics
from polysense.workflows.simple_baselines import ESTIMATORS, FILE, FOLDER, fit_simple_baselines

OVERRIDES = [
    "model.width=16",
    "training.epochs=1",
    "training.batch_size=32",
    "training.tensorboard=false",
    "evaluation.bootstrap=100",
    "evaluation.contribution=false",
    "evaluation.samples=0",
    "data.split.validation=0.15",
    "data.split.test=0.25",
    "data.num_workers=0",
]
EXPERTS = "{linear all: {type: linear}, trees: {type: boosting, max_iterations: 20}}"


def table_of(num_rows: int) -> list[dict[str, Any]]:
    """Two columns that decide together, of which one is absent here and there; persons with a few rows each."""
    draws = np.random.default_rng(0)
    rows = []
    for i in range(num_rows):
        size, shop = draws.uniform(0, 10), str(draws.choice(["north", "south", "east"]))
        label = "yes" if (abs(size - 5) < 2) != (shop == "east" and draws.random() < 0.5) else "no"
        price = f"{2 * size + 5 * (shop == 'north') + draws.normal():.2f}"
        shown = None if i % 9 == 0 else round(float(size), 3)
        rows.append({"person": f"p{i // 4}", "size": shown, "shop": shop, "label": label, "price": price})
    return rows


def fit(rows: Any, folder: Path, *more: str, target: Any = "label", **options: Any) -> polysense.Run:
    columns = {"person": "ignored", "shop": "category"}
    if target != ["label", "price"]:
        columns["price"] = "ignored"
    settings = {"columns": columns, "preset": "fast", "pretrained": "off", **options}
    return polysense.fit(rows, target=target, output=folder, overrides=[*OVERRIDES, *more], progress=False, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> polysense.Run:
    folder = tmp_path_factory.mktemp("simple")
    group = ["data.split={type: group, column: person, validation: 0.15, test: 0.25}"]
    rows = table_of(200)
    return fit(rows, folder / "run", f"model.heads.label.estimators={EXPERTS}", *group)


def compared(run: polysense.Run, split: str = "test", target: str = "label") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "metrics.json").read_text())["simple_baselines"][split][target]
    return found


def test_every_column_boosting_everything_and_the_average_are_there(run: polysense.Run) -> None:
    found = compared(run)
    names = [each["name"] for each in found["baselines"]]
    assert names[:2] == ["linear all", "trees"]
    assert {"boosting tabular", "linear size", "linear shop", "forest all", "average"} <= set(names)
    assert found["metric"] == "accuracy"
    own = run.metrics["test"]["label"]["accuracy"]
    for each in found["baselines"]:
        assert each["difference"]["value"] == pytest.approx(own["value"] - each["value"])
        assert each["low"] <= each["value"] <= each["high"]
    assert found["num_rows"] == run.evaluations["test"].num_counted("label")
    card = (run.folder / "bundle" / "README.md").read_text()
    assert "the best of " in card
    assert "simple baselines" in card
    assert "the best simple baseline (" in " ".join(run.summary().split())
    weights = {each["name"]: each["weight"] for each in found["baselines"]}
    assert weights["linear all"] is not None
    assert weights["linear size"] is None


def test_boosting_is_scikit_learns_on_the_same_rows(run: polysense.Run) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    head = run.bundle.model.head("label")
    assert isinstance(head, EnsembleHead)
    estimator = head.named_estimators()["trees"]
    iterations = len(estimator.get_buffer("roots")) // 2
    source = FeatureSource(schema=run.bundle.schema, prediction=run.bundle.prediction, model=run.bundle.model)
    reader = FeatureReader(head=head.inner, columns=head.reads_features)
    table = read_table(table_of(200))
    split = {name: set(rows) for name, rows in split_rows(run).items()}

    def design(name: str) -> tuple[np.ndarray, np.ndarray]:
        part = table.select(np.array(sorted(split[name])))
        rows = collect_features(source, TableDataset(part, run.bundle.processor), {"label": reader})["label"]
        there = torch.from_numpy(np.stack([rows.present[c] for c in estimator.columns], axis=1))
        features = {c: torch.from_numpy(rows.features[c]) for c in estimator.columns}
        return estimator.design(features, there).numpy(), rows.targets[:, 0]

    inputs, targets = design("train")
    reference = HistGradientBoostingClassifier(
        max_iter=iterations, learning_rate=0.1, max_leaf_nodes=8, l2_regularization=1.0, early_stopping=False,
        min_samples_leaf=int(np.clip(len(targets) // 20, 2, 20)),
    ).fit(inputs, targets)  # fmt: skip
    held_out, truth = design("test")
    expected = float((reference.predict(held_out) == truth).mean())
    (trees,) = [each for each in compared(run)["baselines"] if each["name"] == "trees"]
    assert trees["value"] == pytest.approx(expected)


def split_rows(run: polysense.Run) -> dict[str, np.ndarray]:
    """The rows of each split, as the run's recipe cuts the table."""
    from polysense.workflows.prepare import split_tables

    tables = split_tables(run.recipe.data, read_table(table_of(200)), run.recipe.training.seed)
    return {name: np.asarray(part.rows) for name, part in tables.items()}


def test_how_they_were_fitted_is_said(run: polysense.Run) -> None:
    notes = " ".join(compared(run)["notes"])
    assert "5-fold cross-validation within these rows, with groups of 'person' kept whole" in notes
    assert f"Fitted on {len(split_rows(run)['train'])} training rows" in notes
    assert "average: the mean of the predictions of" in notes
    averaged = notes.partition("the mean of the predictions of")[2]
    assert "linear size" not in averaged
    assert "chose the model's epoch" in compared(run, "validation")["sentence"]
    assert "chose" not in compared(run, "test")["sentence"]


def test_the_page_shows_them_with_the_weights_of_the_experts(run: polysense.Run) -> None:
    page = (run.folder / "report.html").read_text()
    assert "label: Simple baselines" in page
    section = page.partition("<h2>label: Simple baselines")[2].partition("</section>")[0]
    for name in ("linear all", "trees", "boosting tabular", "linear size", "average"):
        assert f">{name}</th>" in section
    assert "Fusion weights fitted on" in section
    log = (run.folder / "train.log").read_text()
    assert "label: trees: fitted on" in log
    assert "accuracy 0." in log
    assert log.count("fusion weights fitted on") == 1
    (line,) = [line for line in log.splitlines() if "fusion weights fitted on" in line]
    assert line.partition("fusion weights fitted on")[2] in section


def test_a_run_that_is_written_again_has_the_same_numbers_and_log(run: polysense.Run) -> None:
    files = [run.folder / "metrics.json", run.folder / FOLDER / FILE, run.folder / FOLDER / "estimators.safetensors"]
    before = [file.read_bytes() for file in files]
    lines = (run.folder / "train.log").read_text().count("\n")
    polysense.fit(run.folder, data=table_of(200), resume=True, progress=False)
    assert [file.read_bytes() for file in files] == before
    assert (run.folder / "train.log").read_text().count("\n") == lines


def test_a_model_without_feature_vectors_gets_some_for_the_report_alone(tmp_path: Path) -> None:
    heads = ["model.heads.label={type: classification}", "model.heads.price={type: regression}", "data.features={}"]
    run = fit(table_of(60), tmp_path / "run", *heads, target=["label", "price"])
    for target, metric in (("label", "accuracy"), ("price", "r2")):
        found = compared(run, target=target)
        assert found["metric"] == metric
        names = [each["name"] for each in found["baselines"]]
        assert {"linear size", "linear shop", "boosting tabular", "forest all", "average"} <= set(names)
        assert any("for this comparison alone" in note for note in found["notes"])
        assert all(each["weight"] is None for each in found["baselines"])
    assert (run.folder / FOLDER / "processor" / "processor.json").is_file()
    assert not any(column.num_features for column in run.bundle.schema.columns)
    best = next(each for each in compared(run, target="price")["baselines"] if each["name"] == "linear tabular")
    assert best["value"] > 0.3


def split_part(run: polysense.Run, name: str) -> list[dict[str, Any]]:
    return [table_of(200)[row] for row in sorted(split_rows(run)[name])]


def test_another_table_is_scored_beside_them_as_the_run_does(run: polysense.Run) -> None:
    scores = polysense.evaluate(run.folder, split_part(run, "test"), bootstrap=100, seed=run.recipe.training.seed)
    ours, theirs = scores.as_json()["simple_baselines"]["label"], compared(run)
    assert ours["baselines"] == theirs["baselines"]
    assert ours["best"] == theirs["best"]
    assert "best simple baseline" in " ".join(scores.text().split())
    assert scores.no_simple_baselines == ""
    off = polysense.evaluate(run.folder, split_part(run, "test"), bootstrap=0, simple_baselines=False)
    assert off.simple_baselines == {}
    assert "imple baselines" not in off.text()


def test_where_they_are_not_kept_the_reason_is_said(run: polysense.Run, tmp_path: Path) -> None:
    rows = split_part(run, "test")

    def why(folder: Path) -> str:
        scores = polysense.evaluate(folder, rows, bootstrap=0)
        assert scores.simple_baselines == {}
        assert scores.as_json()["no_simple_baselines"] == scores.no_simple_baselines
        assert "No simple baselines: " in f"{' '.join(scores.text().split())} "
        return scores.no_simple_baselines

    shutil.copytree(run.folder / "bundle", tmp_path / "alone" / "bundle")
    assert "is not there" in why(tmp_path / "alone" / "bundle")
    shutil.copytree(run.folder / FOLDER, tmp_path / "alone" / FOLDER)
    assert polysense.evaluate(tmp_path / "alone" / "bundle", rows, bootstrap=0).simple_baselines
    saved = tmp_path / "alone" / FOLDER
    whole = (saved / ESTIMATORS).read_bytes()
    (saved / ESTIMATORS).write_bytes(whole[: len(whole) // 2])
    assert "can't be read" in why(tmp_path / "alone" / "bundle")
    (saved / ESTIMATORS).write_bytes(whole)
    facts = json.loads((saved / FILE).read_text())
    for broken, expected in (
        ({**facts, "preprocessing": "0"}, "beside another model"),
        ({**facts, "version": 1}, "another version"),
        ({"version": facts["version"]}, "can't be read"),
        ({**facts, "targets": {"nothing": facts["targets"]["label"]}}, "can't be read"),
    ):
        (saved / FILE).write_text(json.dumps(broken))
        assert expected in why(tmp_path / "alone" / "bundle")
    (saved / FILE).write_text("[")
    assert "can't be read" in why(tmp_path / "alone" / "bundle")


def test_nothing_is_fitted_where_the_recipe_says_so(tmp_path: Path) -> None:
    heads = ["model.heads.label={type: classification}", "data.features={}", "evaluation.simple_baselines=false"]
    run = fit(table_of(40), tmp_path / "run", *heads)
    assert not (run.folder / FOLDER).exists()
    assert set(json.loads((run.folder / "metrics.json").read_text())) == {"validation", "test"}
    assert "simple baseline" not in run.summary()


def test_what_there_is_no_time_for_is_left_out_by_name(run: polysense.Run, tmp_path: Path) -> None:
    table = read_table(table_of(40))
    train = TableDataset(table, run.bundle.processor)
    run.bundle.processor.save(tmp_path / "bundle" / "processor")
    deadline = Deadline(0.0)
    fit_simple_baselines(run.bundle.model, run.recipe, train, tmp_path, FittedExperts(), deadline)
    saved = json.loads((tmp_path / FOLDER / FILE).read_text())["targets"]["label"]
    assert saved["models"] == []
    assert saved["left_out"] == ["no time for their features"]
    assert any("simple baselines" in what for what in deadline.left_out)


@pytest.mark.parametrize("num_rows", [1, 5])
def test_some_rows_are_enough_to_fit_on(run: polysense.Run, tmp_path: Path, num_rows: int) -> None:
    train = TableDataset(read_table(table_of(num_rows)), run.bundle.processor)
    run.bundle.processor.save(tmp_path / "bundle" / "processor")
    fit_simple_baselines(run.bundle.model, run.recipe, train, tmp_path, FittedExperts())
    saved = json.loads((tmp_path / FOLDER / FILE).read_text())["targets"]["label"]
    assert {entry["num_training"] for entry in saved["models"]} <= set(range(num_rows + 1))
    assert saved["notes"][0].startswith(f"Fitted on {num_rows} training row")


def test_rows_without_anything_get_the_training_prior() -> None:
    label = ClassificationTarget(name="label", columns=("label",), classes=("a", "b"), class_counts=(3, 1), num_rows=4)
    head = plain_head(ClassificationHeadConfig(), label)
    assert head is not None
    truth = ValueTruth(values=torch.tensor([0, 1, 1]), present=torch.tensor([True, True, False]))
    scores = np.array([[0.0, 2.0], [np.nan, np.nan], [1.0, 0.0]])
    found = score_statistics(head, scores, truth)
    assert found["predicted"].tolist() == [1, 0, 0]
    np.testing.assert_allclose(found["probabilities"][1], [0.75, 0.25])
    np.testing.assert_allclose(found["probabilities"][0], np.exp([0, 2]) / np.exp([0, 2]).sum(), rtol=1e-6)
    # The row that was predicted from nothing is none of an estimator's own.
    assert out_of_fold_score(head, scores, truth).num_rows == 1
    assert out_of_fold_score(head, scores, truth).value == 0.0


def test_numbers_are_in_the_tables_units_and_have_no_intervals() -> None:
    target = RegressionTarget(name="price", columns=("price",), num_rows=3, mean=(10.0,), std=(2.0,))
    head = plain_head(RegressionHeadConfig(), target)
    assert head is not None
    truth = ValueTruth(values=torch.tensor([[12.0]]), present=torch.tensor([True]))
    found = score_statistics(head, np.array([[0.5]]), truth)
    assert found["predicted"].tolist() == [[11.0]]
    assert not np.isfinite(found.get("low", np.array([np.nan]))).any()


def test_the_plan_counts_them() -> None:
    prepared = prepare(table_of(40), target="label", overrides=["pretrained=off"], preset="fast")
    lines = " ".join(plan_lines(prepared.recipe, {"train": prepared.table}))
    assert "then simple models of the columns' feature vectors" in lines
    off = prepare(table_of(40), target="label", overrides=["pretrained=off", "evaluation.simple_baselines=false"])
    assert "simple models" not in " ".join(plan_lines(off.recipe, {"train": off.table}))
