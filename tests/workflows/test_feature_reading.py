"""Feature vectors follow from what the model reads: what is recorded of validation rows is of the delivered model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polysense
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.tables.sources import read_table
from polysense.nn.ensemble_head import EnsembleHead
from polysense.recipe import Recipe
from polysense.workflows.evaluating import evaluate_model
from polysense.workflows.feature_reading import make_read_features, reads_features
from polysense.workflows.prepare import split_tables

SMALL = ["model.width=16", "training.epochs=1", "evaluation.bootstrap=20", "data.num_workers=0"]


@pytest.fixture(scope="module")
def table() -> list[dict[str, Any]]:
    """Eight classes that a tree tells apart and a network of one epoch does not."""
    draws = np.random.default_rng(0)
    rows = []
    for _ in range(150):
        size = float(draws.uniform(0, 8))
        rows.append({"size": size, "shop": str(draws.choice(["north", "south"])), "label": "abcdefgh"[int(size)]})
    return rows


@pytest.fixture(scope="module")
def run(table: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> polysense.Run:
    return polysense.fit(
        table, target="label", output=tmp_path_factory.mktemp("run") / "run", progress=False,
        overrides=[*SMALL, "evaluation.contribution=false", "audit=off"],
    )  # fmt: skip


def validation_rows(recipe: Recipe, table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tables = split_tables(recipe.data, read_table(table), recipe.training.seed)
    return [table[int(row)] for row in tables["validation"].rows]


def test_a_comparison_records_the_validation_score_of_the_delivered_model(
    table: list[dict[str, Any]], tmp_path: Path, run: polysense.Run
) -> None:
    features = ["{}", "{size: [{type: value_and_quantile}]}"]
    polysense.compare(
        table, {"data.features": features}, target="label", seeds=1, output=tmp_path / "c", keep=True,
        unimodal=False, overrides=[*SMALL, "evaluation.simple_baselines=false"],
    )  # fmt: skip
    rows, accuracies = validation_rows(run.recipe, table), []
    for result in tmp_path.glob("c/runs/*/*/result.json"):
        recorded = json.loads(result.read_text())["metrics"]["validation"]["label"]
        scores = polysense.evaluate(result.parent / "bundle", rows)
        for metric in ("accuracy", "log_loss"):
            assert recorded[metric]["value"] == pytest.approx(scores.evaluation.value("label", metric))
        accuracies.append(recorded["accuracy"]["value"])
    # Without features there are no estimators; the next variant's rows have them all the same.
    assert min(accuracies) < 0.5
    assert max(accuracies) > 0.8


def test_a_fine_tuned_model_is_validated_with_the_estimators_that_it_keeps(
    table: list[dict[str, Any]], tmp_path: Path, run: polysense.Run
) -> None:
    tuned = polysense.fit(
        table, target="label", output=tmp_path / "tuned", progress=False,
        overrides=[
            *SMALL, f"init_from.bundle={run.folder}", "init_from.parts=[encoders, fusion, heads]",
            "init_from.freeze=[heads.label]",
        ],
    )  # fmt: skip
    head = tuned.bundle.model.head("label")
    assert isinstance(head, EnsembleHead)
    assert not head.fits_weights
    best = tuned.training.history[tuned.training.best_epoch - 1]
    delivered = tuned.evaluations["validation"].value("label", "accuracy")
    assert best["validation"]["label/accuracy"] == pytest.approx(delivered)
    assert delivered > 0.8
    assert tuned.training.judged == ""


def test_what_is_judged_before_simple_models_are_fitted_is_named(run: polysense.Run) -> None:
    assert run.training.judged == "the networks"
    end = json.loads((run.folder / "log.jsonl").read_text().splitlines()[-1])
    assert end["judged"] == "the networks"
    assert " of the networks " in (run.folder / "train.log").read_text()
    assert "Epoch 1 was the best of the networks on validation" in (run.folder / "report.html").read_text()
    assert "epoch 1 of 1 was the best of the networks" in (run.folder / "samples.html").read_text()


def test_estimators_that_are_not_fitted_read_no_features(table: list[dict[str, Any]], run: polysense.Run) -> None:
    model = run.recipe.model.build(run.bundle.schema).eval()
    dataset = TableDataset(read_table(table), run.bundle.processor)
    (batch, *_) = PredictLoader(dataset, model.schema)
    assert not reads_features(model)
    make_read_features(model, [dataset])
    assert not dataset.with_features
    assert all(tokens.features is None for tokens in model.encode(batch).values())
    make_read_features(model, [dataset], to_fit=True)
    assert dataset.with_features
    assert all(tokens.features is not None for tokens in model.encode(batch).values())
    # A training of another model shares the rows: what it set does not stay.
    make_read_features(run.bundle.model, [dataset])
    assert dataset.with_features
    make_read_features(model, [dataset])
    assert not dataset.with_features


def test_rows_without_the_features_that_a_model_reads_are_no_rows_to_score_it_on(
    table: list[dict[str, Any]], run: polysense.Run
) -> None:
    dataset = TableDataset(read_table(table), run.bundle.processor, with_features=False)
    with pytest.raises(AssertionError, match="lack feature vectors"):
        evaluate_model(run.bundle.model, dataset)
