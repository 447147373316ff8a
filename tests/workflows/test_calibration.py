"""Temperatures by the columns that a row has: which rows fit them, and that a bundle keeps and applies them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from model_helpers import row_arrays
from tiny_run import TINY

import polysense
from polysense.bundle import Bundle, load
from polysense.nn.tempered_head import TemperedHead
from polysense.workflows.calibration import calibrate, read_subsets

NUM_ROWS = 120


def frame(num_columns: int, *, missing: bool) -> pl.DataFrame:
    draws = np.random.default_rng(0)
    values = draws.normal(size=(NUM_ROWS, num_columns))
    label = np.where(values[:, 0] + draws.normal(0, 0.7, NUM_ROWS) > 0, "yes", "no")
    columns: dict[str, Any] = {f"x{i}": values[:, i].tolist() for i in range(num_columns)}
    if missing:  # the first column in half of the rows
        columns["x0"] = [value if i % 2 else None for i, value in enumerate(columns["x0"])]
    return pl.DataFrame({**columns, "label": label, "split": ["train"] * 60 + ["validation"] * 60})


def trained(folder: Path, num_columns: int, *, missing: bool, plain: bool = True, **options: Any) -> polysense.Run:
    head = ["model.heads.label={type: classification}"] if plain else []
    return polysense.fit(
        frame(num_columns, missing=missing), target="label", output=folder / "run", preset="fast", progress=False,
        overrides=[*TINY, *head, "audit=off", "evaluation.report=false"], **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> polysense.Run:
    return trained(tmp_path_factory.mktemp("complete"), 3, missing=False)


def validation_set(bundle: Bundle, num_columns: int, *, missing: bool) -> Any:
    return bundle.dataset(frame(num_columns, missing=missing)[60:], with_targets=True)


def nats(bundle: Bundle, rows: pl.DataFrame) -> float:
    truth = torch.tensor([bundle.schema.target("label").classes.index(each) for each in rows["label"]])
    probabilities = torch.from_numpy(row_arrays(bundle, rows, "label")["probabilities"])
    return float(F.nll_loss(probabilities.double().log(), truth))


def test_a_bundle_keeps_a_temperature_for_each_subset_and_uses_it(complete: polysense.Run) -> None:
    bundle = load(complete.folder)
    head = bundle.model.head("label")
    assert isinstance(head, TemperedHead)
    assert head.subset_factors is not None
    subsets = [["x0"], ["x1"], ["x2"], ["x0", "x1"], ["x0", "x2"], ["x1", "x2"]]
    own = {tuple(each): head.temperature_of(each) for each in subsets}
    assert sum(value != float(head.temperature) for value in own.values()) >= 3
    assert "(6 subsets)" in bundle.info["calibration"]["label"]
    assert head.temperature_of(["x0", "x1", "x2"]) == float(head.temperature), "fitted on rows that have them all"
    validation = frame(3, missing=False)[60:]
    factors = head.subset_factors
    for subset in subsets:
        rows = validation.select(*subset, "label")
        with_factors = nats(bundle, rows)
        head.subset_factors = None
        without = nats(bundle, rows)
        head.subset_factors = factors
        assert with_factors <= without + 1e-6, subset
    # A row's bits do not depend on which others are there, whatever these have.
    mixed = pl.concat(
        [validation.select("x1"), validation.select("x0", "x2"), validation.drop("label")], how="diagonal"
    )
    every = row_arrays(bundle, mixed, "label")["probabilities"]
    for i in (0, 70, 150):
        assert np.array_equal(row_arrays(bundle, mixed[i : i + 1], "label")["probabilities"][0], every[i])


def test_what_is_saved_and_loaded_predicts_the_same_bits(complete: polysense.Run, tmp_path: Path) -> None:
    rows = frame(3, missing=False).select("x1", "x2")
    expected = row_arrays(complete.bundle, rows, "label")["probabilities"]
    load(complete.folder).save(tmp_path / "copy")
    assert np.array_equal(row_arrays(load(tmp_path / "copy"), rows, "label")["probabilities"], expected)


def test_subsets_hold_the_rows_that_have_their_columns(tmp_path: Path) -> None:
    run = trained(tmp_path, 2, missing=True)
    bundle = run.bundle
    read = read_subsets(bundle.model, validation_set(bundle, 2, missing=True), prediction=bundle.prediction)["label"]
    counts = {
        tuple(sorted(columns)): int(sum((weights > 0).sum() for _, _, weights in parts))
        for columns, parts in read.items()
    }
    # Those of both columns have x0 and x1; x1 alone has the rest of these too, with x0 masked.
    assert counts == {("x0",): 30, ("x1",): 60, ("x0", "x1"): 30}


def test_of_many_columns_each_one_is_masked_and_left_alone(tmp_path: Path) -> None:
    run = trained(tmp_path, 8, missing=True)
    head = run.bundle.model.head("label")
    names = [f"x{i}" for i in range(8)]
    # Each alone, all but each one, and all of them, which half of the rows have.
    assert "(17 subsets)" in run.bundle.info["calibration"]["label"]
    assert head.temperature_of(names[1:]) != head.temperature_of(names[2:]) == head.temperature_of(["x1", "x2"])
    assert head.temperature_of(["x1"]) != head.temperature_of(["x2"])


def test_of_very_many_columns_only_what_rows_have_is_fitted(tmp_path: Path) -> None:
    run = trained(tmp_path, 21, missing=True)
    head = run.bundle.model.head("label")
    names = [f"x{i}" for i in range(21)]
    assert "(2 subsets)" in run.bundle.info["calibration"]["label"]
    assert head.temperature_of(names[1:]) != head.temperature_of(names)
    assert head.temperature_of(["x1"]) == head.temperature_of(["x2"]) == head.temperature_of(names[2:])


def test_too_few_rows_have_the_temperature_of_all(complete: polysense.Run) -> None:
    bundle = load(complete.folder)
    dataset = bundle.dataset(frame(3, missing=False)[60:79], with_targets=True)
    said = calibrate(bundle.model, dataset, prediction=bundle.prediction)
    assert "subsets" not in said["label"]
    head = bundle.model.head("label")
    assert head.temperature_of(["x0"]) == head.temperature_of(["x1"])


def test_a_single_column_has_no_subsets(tmp_path: Path) -> None:
    run = trained(tmp_path, 1, missing=False)
    assert "subsets" not in run.bundle.info["calibration"]["label"]


def test_models_of_folds_say_how_sure_to_be_without_a_column(tmp_path: Path) -> None:
    table = frame(2, missing=False).drop("split")
    run = polysense.fit(
        table, target="label", output=tmp_path / "run", preset="fast", progress=False, folds=2,
        overrides=[*(each for each in TINY if "baselines" not in each), "audit=off", "evaluation.report=false"],
    )  # fmt: skip
    assert "(2 subsets)" in run.bundle.info["calibration"]["label"]
    bundle = load(run.folder)
    head = bundle.model.head("label")
    assert len({head.temperature_of(each) for each in (["x0"], ["x1"], ["x0", "x1"])}) == 3
