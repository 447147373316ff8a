from __future__ import annotations

import importlib
import math
import warnings

import numpy as np
import pytest
import torch
from row_statistics import compute

from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.tasks.multilabel.record import MultilabelTarget

METRICS = importlib.import_module("torchmetrics.functional.classification")


def target(num_labels: int) -> Target:
    return MultilabelTarget(name="y", columns=("y",), classes=tuple(f"label {i}" for i in range(num_labels)))


def scores(prediction: Prediction, truth: np.ndarray) -> dict[str, float]:
    found = compute(target(truth.shape[1]), prediction, truth.astype(np.float32), np.ones(len(truth), dtype=bool))
    return {name: float(values[0]) for name, values in found.items()}


def example(num_rows: int, num_labels: int, *, ties: bool = False) -> tuple[Prediction, np.ndarray]:
    draws = np.random.default_rng(num_rows + num_labels)
    truth = draws.random((num_rows, num_labels)) < 0.3
    logits = draws.normal(size=truth.shape) + 1.5 * truth - 0.5
    probabilities = torch.tensor(logits.round(0) if ties else logits, dtype=torch.float32).sigmoid()
    return {"values": probabilities > 0.5, "probabilities": probabilities}, truth


def torch_scores(prediction: Prediction, truth: np.ndarray) -> dict[str, float]:
    p, y, num = prediction["probabilities"], torch.tensor(truth.astype(np.int64)), truth.shape[1]
    labels, found = prediction["values"].int(), {}
    for name, function in (
        ("f1", METRICS.multilabel_f1_score),
        ("precision", METRICS.multilabel_precision),
        ("recall", METRICS.multilabel_recall),
    ):
        for average in ("micro", "macro"):
            found[f"{name}_{average}"] = function(labels, y, num, average=average)
    found["exact_match"] = METRICS.multilabel_exact_match(labels, y, num)
    found["label_accuracy"] = METRICS.multilabel_accuracy(labels, y, num, average="micro")
    has, lacks = y.sum(dim=0) > 0, y.sum(dim=0) < len(y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found["auroc"] = METRICS.multilabel_auroc(p, y, num, average="none")[has & lacks].mean()
        found["average_precision"] = METRICS.multilabel_average_precision(p, y, num, average="none")[has].mean()
    found["log_loss"] = torch.nn.functional.binary_cross_entropy(p.double(), y.double())
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("shape", [(200, 6), (30, 2), (5, 12)])
def test_equals_torchmetrics(shape, ties):
    prediction, truth = example(*shape, ties=ties)
    found = scores(prediction, truth)
    for name, expected in torch_scores(prediction, truth).items():
        assert found[name] == pytest.approx(expected, abs=1e-6), name


def test_equals_torchmetrics_where_labels_are_absent_or_everywhere():
    prediction, truth = example(50, 5)
    truth[:, 1], truth[:, 2] = False, True
    found = scores(prediction, truth)
    for name, expected in torch_scores(prediction, truth).items():
        assert found[name] == pytest.approx(expected, abs=1e-6), name


def test_no_label_anywhere():
    prediction, truth = example(10, 3)
    found = scores(prediction, np.zeros_like(truth))
    assert math.isnan(found["auroc"])
    assert math.isnan(found["average_precision"])
    assert found["f1_micro"] == 0.0
    assert math.isfinite(found["log_loss"])


def test_no_rows_and_no_probabilities():
    empty = scores(
        {"values": torch.zeros(0, 3, dtype=torch.bool), "probabilities": torch.zeros(0, 3)}, np.zeros((0, 3))
    )
    assert all(math.isnan(value) for value in empty.values())
    prediction, truth = example(20, 3)
    without = scores({"values": prediction["values"]}, truth)
    assert {name for name, value in without.items() if math.isnan(value)} == {"auroc", "average_precision", "log_loss"}


def test_the_fixtures_scores(real_data):
    arrays = np.load(real_data("fixtures") / "misc" / "arrays.npz")
    probabilities = torch.tensor(arrays["ml_score"], dtype=torch.float32)
    found = scores({"values": probabilities > 0.5, "probabilities": probabilities}, arrays["ml_true"])
    assert found["average_precision"] == pytest.approx(0.7452494842081389, abs=1e-6)
    assert found["auroc"] == pytest.approx(0.8989716495362152, abs=1e-6)
