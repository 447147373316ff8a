from __future__ import annotations

import importlib
import math
import warnings

import numpy as np
import pytest
import torch
from row_statistics import compute, statistics_of

from polysense.tasks.classification.metrics import ClassificationScorer, classification_metrics, confusion_matrix

METRICS = importlib.import_module("torchmetrics.functional.classification")


def scores(target, prediction, truth):
    found = compute(target, prediction, truth, np.ones(len(truth), dtype=bool))
    return {name: float(values[0]) for name, values in found.items()}


def torch_scores(prediction, truth, num_classes):
    """The same metrics by torchmetrics; the ranking ones as means over the classes where they are defined."""
    p, y, labels = prediction["probabilities"], torch.tensor(truth), prediction["values"]
    kwargs = {"num_classes": num_classes, "validate_args": False}
    found = {"accuracy": METRICS.multiclass_accuracy(labels, y, average="micro", **kwargs)}
    for name in ("precision", "recall"):
        function = getattr(METRICS, f"multiclass_{name}")
        for average in ("macro", "micro"):
            found[f"{name}_{average}"] = function(labels, y, average=average, **kwargs)
    for average in ("macro", "micro", "weighted"):
        found[f"f1_{average}"] = METRICS.multiclass_f1_score(labels, y, average=average, **kwargs)
    found["ece"] = METRICS.multiclass_calibration_error(p, y, n_bins=15, **kwargs)
    if num_classes == 2:
        found["precision"] = METRICS.binary_precision(labels, y)
        found["recall"] = METRICS.binary_recall(labels, y)
        found["f1"] = METRICS.binary_f1_score(labels, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of every absent class
        if num_classes == 2:
            found["auroc"] = METRICS.binary_auroc(p[:, 1], y)
            found["average_precision"] = METRICS.binary_average_precision(p[:, 1], y)
        else:
            there = torch.bincount(y, minlength=num_classes) > 0
            found["auroc"] = METRICS.multiclass_auroc(p, y, average="none", **kwargs)[there].mean()
            by_class = METRICS.multiclass_average_precision(p, y, average="none", **kwargs)
            found["average_precision"] = by_class[there].mean()
    found["log_loss"] = torch.nn.functional.nll_loss(p.double().log(), y)
    onehot = torch.nn.functional.one_hot(y, num_classes)
    found["brier"] = ((p.double() - onehot) ** 2).sum(dim=1).mean() / (2 if num_classes == 2 else 1)
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("decimals", [None, 0], ids=["distinct", "ties"])
@pytest.mark.parametrize("num_rows", [40, 300])
def test_equals_torchmetrics(classification, predict_classes, num_classes, decimals, num_rows):
    truth = np.random.default_rng(num_rows).integers(0, num_classes, num_rows)
    prediction = predict_classes(truth, num_classes, decimals=decimals)
    found = scores(classification(num_classes), prediction, truth)
    for name, expected in torch_scores(prediction, truth, num_classes).items():
        assert found[name] == pytest.approx(expected, abs=1e-6), name


def test_equals_torchmetrics_where_a_class_is_absent_and_another_is_never_predicted(classification, predict_classes):
    truth = np.random.default_rng(0).choice([0, 1, 3], 200)
    prediction = predict_classes(truth, 5)
    probabilities = prediction["probabilities"].clone()
    probabilities[:, 3] = 0.0
    prediction = {
        "values": probabilities.argmax(dim=1),
        "probabilities": probabilities / probabilities.sum(dim=1, keepdim=True),
    }
    found, expected = scores(classification(5), prediction, truth), torch_scores(prediction, truth, 5)
    # The right class's probability is 0 in some rows: the loss is clipped there, where torch's is infinite.
    assert expected.pop("log_loss") == math.inf
    assert math.isfinite(found["log_loss"])
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_balanced_accuracy_is_scikit_learns(classification, predict_classes):
    sklearn = importlib.import_module("sklearn.metrics")
    truth = np.random.default_rng(1).choice([0, 1, 3], 200, p=[0.8, 0.15, 0.05])
    prediction = predict_classes(truth, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that class 2 is predicted but absent, which is the point
        expected = sklearn.balanced_accuracy_score(truth, prediction["values"].numpy())
    assert scores(classification(5), prediction, truth)["balanced_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(("num_classes", "label"), [(2, 0), (2, 1), (4, 2)])
def test_one_class_present_leaves_no_auroc_and_nothing_crashes(classification, predict_classes, num_classes, label):
    truth = np.full(20, label)
    prediction = predict_classes(truth, num_classes)
    found = scores(classification(num_classes), prediction, truth)
    assert math.isnan(found["auroc"])
    # A class that all rows have is found at any threshold; one that no row has is not defined.
    assert found["average_precision"] == pytest.approx(1.0) or (num_classes == 2 and label == 0)
    expected = float(
        METRICS.multiclass_accuracy(prediction["values"], torch.tensor(truth), num_classes, average="micro")
    )
    assert found["accuracy"] == pytest.approx(expected)
    assert all(math.isfinite(found[name]) for name in ("f1_macro", "balanced_accuracy", "log_loss", "ece", "brier"))


def test_a_single_row(classification):
    prediction = {"values": torch.tensor([1]), "probabilities": torch.tensor([[0.25, 0.5, 0.25]])}
    found = scores(classification(3), prediction, np.array([1]))
    assert found["accuracy"] == found["f1_macro"] == found["balanced_accuracy"] == 1.0
    assert found["log_loss"] == pytest.approx(math.log(2))
    assert found["ece"] == pytest.approx(0.5)
    assert math.isnan(found["auroc"])


def test_no_rows_leave_everything_undefined(classification):
    prediction = {"values": torch.zeros(0, dtype=torch.int64), "probabilities": torch.zeros(0, 2)}
    found = scores(classification(2), prediction, np.zeros(0, dtype=np.int64))
    assert set(found) == {info.name for info in classification_metrics(binary=True)}
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("broken", [None, math.nan, math.inf])
def test_without_finite_probabilities_only_the_labels_are_scored(classification, broken):
    truth = np.array([0, 1, 1, 0])
    probabilities = {} if broken is None else {"probabilities": torch.full((4, 2), broken)}
    found = scores(classification(2), {"values": torch.tensor([0, 1, 0, 0]), **probabilities}, truth)
    assert found["accuracy"] == 0.75
    assert all(math.isnan(found[name]) for name in ("auroc", "average_precision", "log_loss", "brier", "ece"))


def test_a_saturated_model_is_compared_with_how_often_it_is_right(classification):
    probabilities = torch.tensor([[1.0, 0.0]] * 10)
    truth = np.array([0] * 7 + [1] * 3)
    found = scores(
        classification(2), {"values": torch.zeros(10, dtype=torch.int64), "probabilities": probabilities}, truth
    )
    expected = float(METRICS.multiclass_calibration_error(probabilities, torch.tensor(truth), 2, n_bins=15))
    assert found["ece"] == pytest.approx(0.3) == pytest.approx(expected)


def test_confusion_matrix_equals_torchmetrics(classification, predict_classes):
    truth = np.random.default_rng(2).integers(0, 4, 100)
    prediction = predict_classes(truth, 6)
    present = np.random.default_rng(3).random(100) < 0.7
    found = confusion_matrix(statistics_of(classification(6), prediction, truth, present), 6)
    expected = METRICS.multiclass_confusion_matrix(prediction["values"][present], torch.tensor(truth[present]), 6)
    assert found.tolist() == expected.tolist()


def test_absent_targets_are_counted_out(classification, predict_classes):
    truth = np.random.default_rng(4).integers(0, 3, 100)
    prediction = predict_classes(truth, 3)
    present = np.arange(100) % 3 > 0
    garbage = np.where(present, truth, -7)
    found = compute(classification(3), prediction, garbage, present)
    expected = scores(classification(3), {name: array[present] for name, array in prediction.items()}, truth[present])
    assert {name: float(value[0]) for name, value in found.items()} == pytest.approx(expected)


def test_the_fixtures_scores(classification, real_data):
    arrays = np.load(real_data("fixtures") / "misc" / "arrays.npz")
    probabilities = torch.tensor(arrays["prob"], dtype=torch.float32)
    found = scores(
        classification(7), {"values": probabilities.argmax(dim=1), "probabilities": probabilities}, arrays["y"]
    )
    expected = {
        "accuracy": 0.476,
        "balanced_accuracy": 0.5051731702399271,
        "f1_macro": 0.42846151122189813,
        "f1_weighted": 0.4958628176669304,
        "log_loss": 1.4160357316437135,
        "auroc": 0.8241757374513174,
        "ece": 0.056562120030318096,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def _calibrated(rows: int, seed: int, sharpened: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((rows, 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(max=2)
    shown = shares**sharpened / (shares**sharpened).sum(axis=1, keepdims=True)
    return shown.astype(np.float32), truth


def test_the_debiased_calibration_error_is_about_0_where_probabilities_are_true() -> None:
    plain, debiased, holding = [], [], 0
    for seed in range(40):
        probabilities, truth = _calibrated(500, seed)
        scorer = ClassificationScorer(probabilities.argmax(axis=1), probabilities, truth, 3)
        own = scorer(np.ones((1, 500)))
        weights = np.random.default_rng(seed).multinomial(500, np.full(500, 1 / 500), size=200).astype(np.float64)
        resampled = scorer(weights, rankings=False)["ece_debiased"]
        holding += np.quantile(resampled, 0.025) <= 0.02
        plain.append(own["ece"][0])
        debiased.append(own["ece_debiased"][0])
    assert np.mean(plain) > 0.04  # chance alone
    assert np.median(debiased) < 0.02
    assert holding >= 38


def test_the_debiased_calibration_error_sees_overconfidence() -> None:
    probabilities, truth = _calibrated(2_000, 0, sharpened=3.0)
    scorer = ClassificationScorer(probabilities.argmax(axis=1), probabilities, truth, 3)
    weights = np.random.default_rng(0).multinomial(2_000, np.full(2_000, 1 / 2_000), size=200).astype(np.float64)
    own, resampled = scorer(np.ones((1, 2_000))), scorer(weights, rankings=False)["ece_debiased"]
    assert np.quantile(resampled, 0.025) > 0.1
    assert own["ece_debiased"][0] == pytest.approx(np.median(resampled), rel=0.1)
    assert scorer(np.full((1, 2_000), 1.0))["ece_debiased"][0] >= own["ece"][0] - 0.02
