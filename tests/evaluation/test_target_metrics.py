from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_statistics import compute

from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.evaluation.target_metrics import headline_metric, metrics_of, selection_metric
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.record import RegressionTarget

TASKS = ("classification", "multilabel", "regression")
"""Those whose metrics are means over rows; texts, tags and joint embedding spaces have tests of their own."""
CHANCE = {"ece_debiased"}
"""Metrics that take off what chance adds: a row drawn twice is not two rows, so their weights are no repetitions."""


def example(task: str, num_rows: int, seed: int) -> tuple[Target, Prediction, np.ndarray]:
    draws = np.random.default_rng(seed)
    if task == "classification":
        num_classes = 2 + seed % 3
        target = ClassificationTarget(name="y", columns=("y",), classes=tuple("abcd"[:num_classes]))
        scores = torch.tensor(draws.normal(size=(num_rows, num_classes)).round(1)).softmax(dim=1).float()
        return (
            target,
            {"values": scores.argmax(dim=1), "probabilities": scores},
            draws.integers(0, num_classes, num_rows),
        )
    if task == "multilabel":
        target = MultilabelTarget(name="y", columns=("y",), classes=("a", "b", "c"))
        scores = torch.tensor(draws.random((num_rows, 3)).round(1)).float()
        return (
            target,
            {"values": scores > 0.5, "probabilities": scores},
            (draws.random((num_rows, 3)) < 0.4).astype(np.float32),
        )
    target = RegressionTarget(name="y", columns=("a", "b"))
    truth = draws.normal(size=(num_rows, 2)).round(1).astype(np.float32)
    truth[draws.random(truth.shape) < 0.2] = np.nan
    return target, {"values": torch.tensor(draws.normal(size=(num_rows, 2))).float()}, truth


@given(task=st.sampled_from(TASKS), seed=st.integers(0, 10_000), num_rows=st.integers(1, 30))
@settings(max_examples=120, deadline=None)
def test_weights_are_repeated_rows(task, seed, num_rows):
    target, prediction, truth = example(task, num_rows, seed)
    times = np.random.default_rng(seed + 1).integers(0, 4, (3, num_rows))
    present = np.ones(num_rows, dtype=bool)
    found = compute(target, prediction, truth, present, weights=times.astype(float))
    for i, counts in enumerate(times):
        rows = np.repeat(np.arange(num_rows), counts)
        several = {name: array[rows] for name, array in prediction.items()}
        repeated = compute(target, several, truth[rows], present[:1].repeat(len(rows)))
        for name, values in found.items():
            if name in CHANCE:
                continue
            np.testing.assert_allclose(values[i], repeated[name][0], atol=1e-9, err_msg=name)


@given(task=st.sampled_from(TASKS), seed=st.integers(0, 10_000), num_rows=st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_metrics_keep_their_bounds_their_names_and_ignore_the_order_of_rows(task, seed, num_rows):
    target, prediction, truth = example(task, num_rows, seed)
    present = np.random.default_rng(seed).random(num_rows) < 0.8
    found = compute(target, prediction, truth, present)
    assert list(found) == [info.name for info in metrics_of(target)]
    order = np.random.default_rng(seed).permutation(num_rows)
    moved = {name: array[order] for name, array in prediction.items()}
    shuffled = compute(target, moved, truth[order], present[order])
    for info in metrics_of(target):
        value = found[info.name][0]
        assert found[info.name].shape == (1,)
        assert np.isnan(value) or info.bounds[0] - 1e-9 <= value <= info.bounds[1] + 1e-9
        np.testing.assert_allclose(value, shuffled[info.name][0], atol=1e-9)


def test_predictions_in_bfloat16_are_scored():
    target, prediction, truth = example("classification", 20, 0)
    low = {"values": prediction["values"], "probabilities": prediction["probabilities"].bfloat16()}
    found = compute(target, low, truth, np.ones(20, dtype=bool))
    assert np.isfinite(found["log_loss"]).all()
    target, prediction, truth = example("regression", 20, 0)
    assert np.isfinite(
        compute(target, {"values": prediction["values"].bfloat16()}, truth, np.ones(20, dtype=bool))["mae"]
    )


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((50, 50), "accuracy"),
        ((80, 20), "accuracy"),
        ((90, 10), "f1_macro"),
        ((100,) * 9 + (1,), "accuracy"),
        ((6400, 1200, 1100, 1600, 300, 350, 1800), "f1_macro"),
        ((), "accuracy"),
        ((10, 0), "f1_macro"),
    ],
)
def test_uneven_classes_are_selected_by_macro_f1(counts, expected):
    classes = tuple(f"{i}" for i in range(len(counts) or 2))
    target = ClassificationTarget(name="y", columns=("y",), classes=classes, class_counts=counts)
    assert selection_metric(target).name == expected
    assert headline_metric(target).name == "accuracy"


def test_other_tasks_have_their_own_choice():
    multilabel = MultilabelTarget(name="y", columns=("y",), classes=("a",))
    regression = RegressionTarget(name="y", columns=("y",))
    assert (headline_metric(multilabel).name, selection_metric(multilabel).name) == ("f1_micro", "average_precision")
    assert headline_metric(regression).name == selection_metric(regression).name == "r2"
    assert headline_metric(regression).higher_is_better
