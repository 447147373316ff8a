from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from row_statistics import compute

from polysense.core.schema import Target
from polysense.evaluation.target_metrics import metrics_of
from polysense.tasks.regression.metrics import RegressionScorer
from polysense.tasks.regression.record import RegressionTarget
from polysense.tasks.regression.scale import NumberScale

METRICS = importlib.import_module("torchmetrics.functional.regression")


def target(*columns: str) -> Target:
    return RegressionTarget(name="y", columns=columns)


def scores(predicted: np.ndarray, truth: np.ndarray, *columns: str) -> dict[str, float]:
    prediction = {"values": torch.tensor(predicted, dtype=torch.float32)}
    found = compute(target(*columns), prediction, truth.astype(np.float32), np.ones(len(truth), dtype=bool))
    # There are no intervals here, so no coverage.
    return {name: float(values[0]) for name, values in found.items() if not name.startswith("coverage")}


def example(num_rows: int, num_columns: int, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(num_rows)
    truth = (draws.normal(size=(num_rows, num_columns)) * [1.0, 20.0, 0.1][:num_columns] + offset).astype(np.float32)
    return (truth + draws.normal(size=truth.shape)).astype(np.float32), truth


def torch_scores(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    p, y = torch.tensor(predicted, dtype=torch.float64), torch.tensor(truth, dtype=torch.float64)
    return {
        "mae": float(METRICS.mean_absolute_error(p, y)),
        "rmse": float(METRICS.mean_squared_error(p, y, squared=False)),
        "r2": float(METRICS.r2_score(p, y)),
        "pearson": float(METRICS.pearson_corrcoef(p, y)),
        "mse_scaled": float(METRICS.mean_squared_error(p, y)),
    }


@pytest.mark.parametrize("num_rows", [2, 50, 500])
def test_one_column_equals_torchmetrics(num_rows):
    predicted, truth = example(num_rows, 1)
    assert scores(predicted, truth, "a") == pytest.approx(
        torch_scores(predicted[:, 0], truth[:, 0]), abs=1e-6, rel=1e-6
    )


def test_several_columns_each_count_out_their_own_unknown_values():
    predicted, truth = example(200, 3)
    truth[::7, 0], truth[1::3, 1] = np.nan, np.nan
    found = scores(predicted, truth, "a", "b", "c")
    each = []
    for i, column in enumerate("abc"):
        known = ~np.isnan(truth[:, i])
        each.append(torch_scores(predicted[known, i], truth[known, i]))
        for name, expected in each[-1].items():
            assert found[f"{name}/{column}"] == pytest.approx(expected, abs=1e-6, rel=1e-6)
    for name in each[0]:
        assert found[name] == pytest.approx(np.mean([one[name] for one in each]), rel=1e-6)


def test_large_offsets_do_not_cancel():
    predicted, truth = example(300, 1, offset=1e5)
    assert scores(predicted, truth, "a") == pytest.approx(torch_scores(predicted[:, 0], truth[:, 0]), rel=1e-5)


def test_a_constant_target_has_no_r2_and_no_correlation():
    found = scores(np.array([[1.0], [2.0], [4.0]]), np.full((3, 1), 0.1), "a")
    assert math.isnan(found["r2"])
    assert math.isnan(found["pearson"])
    assert found["mae"] == pytest.approx(np.mean([0.9, 1.9, 3.9]), rel=1e-6)


def test_constant_predictions_have_no_correlation_but_an_r2():
    truth = np.array([[1.0], [2.0], [3.0]])
    found = scores(np.full((3, 1), 2.0), truth, "a")
    assert found["r2"] == pytest.approx(0.0)
    assert math.isnan(found["pearson"])


def test_one_row_and_no_row():
    one = scores(np.array([[3.0]]), np.array([[1.0]]), "a")
    assert one["mae"] == one["rmse"] == 2.0
    assert math.isnan(one["r2"])
    none = scores(np.zeros((0, 2)), np.zeros((0, 2)), "a", "b")
    assert len(none) == 15
    assert all(math.isnan(value) for value in none.values())


def test_a_column_without_any_value_is_left_out_of_the_mean():
    predicted, truth = example(20, 2)
    truth[:, 1] = np.nan
    found = scores(predicted, truth, "a", "b")
    assert math.isnan(found["mae/b"])
    assert found["mae"] == found["mae/a"]


def test_a_prediction_that_is_not_finite_makes_the_scores_undefined():
    predicted, truth = example(20, 1)
    predicted[3] = np.inf
    assert not any(math.isfinite(scores(predicted, truth, "a")[name]) for name in ("mae", "rmse", "r2"))


def test_every_metric_is_described():
    names = [info.name for info in metrics_of(target("a", "b"))]
    assert names[:7] == ["r2", "mae", "rmse", "pearson", "mse_scaled", "coverage", "r2/a"]
    assert [info.name for info in metrics_of(target("a"))] == ["r2", "mae", "rmse", "pearson", "mse_scaled", "coverage"]


def test_the_scaled_error_is_of_the_transformed_values_and_leaves_outliers_out() -> None:
    scale = NumberScale(transform="log", center=2.0, scale=0.5, unit=3.0, low=-100.0, high=100.0)
    truth = np.array([[1.0], [20.0], [1e9], [np.nan]])
    predicted = np.array([[2.0], [10.0], [5.0], [7.0]])
    values = RegressionScorer(predicted, truth, ("a",), (scale,))(np.ones((1, 4)))
    errors = [(np.arcsinh(p / 3.0) - np.arcsinh(y / 3.0)) / 0.5 for p, y in ((2.0, 1.0), (10.0, 20.0))]
    assert values["mse_scaled"][0] == pytest.approx(np.mean(np.square(errors)))
    assert values["rmse"][0] > 1e8  # which one mistyped cell decides
