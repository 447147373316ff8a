from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
import torch
from row_statistics import statistics_of

from polysense.core.batch import Batch
from polysense.core.binomial import binomial_interval
from polysense.evaluation.evaluator import evaluate, score
from polysense.evaluation.verdict import verdicts
from polysense.tasks.classification.record import ClassificationTarget


def test_the_values_are_those_of_the_rows_that_have_the_target(world):
    found = evaluate(world.predict, world.batches(), world.targets, bootstrap=200)
    predicted = world.evidence["strong"] + world.evidence["weak"]
    right = (predicted.argmax(axis=1) == world.labels)[world.has_label]
    accuracy = found.metrics["label"]["accuracy"]
    assert accuracy.value == pytest.approx(right.mean())
    assert (accuracy.low, accuracy.high) == binomial_interval(int(right.sum()), len(right))
    assert found.num_rows == 120
    assert found.num_counted("label") == int(world.has_label.sum())
    assert found.num_counted("price") == 120
    confusion = np.array(found.as_summary_json()["targets"]["label"]["confusion"])
    assert confusion.sum() == world.has_label.sum()
    assert np.trace(confusion) == right.sum()
    assert len(found.unreadable) == 3
    assert found.value("price", "mae") == pytest.approx(0.5, abs=1e-6)


def test_batches_and_their_order_change_nothing(world):
    one = evaluate(world.predict, world.batches(120), world.targets, bootstrap=100)
    order = np.random.default_rng(0).permutation(120)
    many = evaluate(world.predict, world.batches(7, order), world.targets, bootstrap=100)
    assert many.as_metrics_json() == one.as_metrics_json()
    assert many.rows.tolist() == list(range(120))
    for name, values in one.statistics["label"].items():
        np.testing.assert_array_equal(many.statistics["label"][name], values)
    np.testing.assert_array_equal(many.statistics["price"]["truth"], one.statistics["price"]["truth"])


def test_filler_rows_are_dropped(world):
    found = evaluate(world.predict, world.batches(100), world.targets, bootstrap=0)
    assert found.rows.min() == 0
    assert len(found.statistics["label"]["predicted"]) == 120


def test_a_row_that_comes_twice_is_an_error(world):
    with pytest.raises(AssertionError, match=r"rows \[3\]"):
        evaluate(world.predict, world.batches(10, np.array([1, 3, 3])), world.targets, bootstrap=0)


def test_without_bootstrap_there_are_values_only_and_they_are_the_same(world):
    quick = evaluate(world.predict, world.batches(), world.targets, bootstrap=0)
    full = evaluate(world.predict, world.batches(), world.targets, bootstrap=50)
    assert quick.as_flat() == pytest.approx(full.as_flat(), abs=0, rel=0, nan_ok=True)
    assert quick.as_flat()["label/accuracy"] == quick.value("label", "accuracy")
    assert not any(one.has_bounds for metrics in quick.metrics.values() for one in metrics.values())


def test_rows_without_targets_and_no_rows_at_all(world):
    def unlabeled():
        for batch in world.batches():
            yield Batch(rows=batch.rows, columns=batch.columns)

    found = evaluate(world.predict, unlabeled(), world.targets)
    assert found.num_rows == 120
    assert found.num_counted("label") == 0
    assert found.undefined["label"]["accuracy"] == "no row has this target"
    empty = evaluate(world.predict, [], world.targets)
    assert empty.num_rows == 0
    assert math.isnan(empty.value("price", "r2"))
    text = json.dumps(empty.as_metrics_json() | empty.as_summary_json(), allow_nan=False)
    assert json.loads(text)["label"]["accuracy"] == {"value": None, "low": None, "high": None}


def test_an_undefined_metric_says_why():
    target = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"))
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    prediction = {"values": probabilities.argmax(dim=1), "probabilities": probabilities}
    found = score([target], np.arange(2), {"y": statistics_of(target, prediction, np.array([0, 0]))}, bootstrap=20)
    assert math.isnan(found.value("y", "auroc"))
    assert "one class" in found.undefined["y"]["auroc"]
    assert "accuracy" not in found.undefined["y"]
    assert found.as_metrics_json()["y"]["auroc"] == {"value": None, "low": None, "high": None}


def test_a_callable_may_give_labels_only(world):
    def labels(batch):
        return {name: {"values": found["values"]} for name, found in world.predict(batch).items()}

    found = evaluate(labels, world.batches(), world.targets, bootstrap=0)
    assert found.value("label", "accuracy") > 0.5
    assert "probabilities" in found.undefined["label"]["log_loss"]


def test_a_perfect_score_of_120_rows_is_no_certainty(world):
    perfect = {"values": torch.tensor(world.labels), "probabilities": torch.eye(3)[world.labels]}
    statistics = {"label": statistics_of(world.label, perfect, world.labels)}
    found = score([world.label], np.arange(120), statistics, bootstrap=100)
    one = found.metrics["label"]["accuracy"]
    assert (one.low, one.value, one.high) == (pytest.approx(0.9697, abs=1e-4), 1.0, 1.0)
    assert found.metrics["label"]["f1_macro"].low == one.low
    assert found.value("label", "log_loss") == 0.0


def test_rows_of_one_group_are_resampled_and_that_is_said(world):
    """One unseen speaker: sure of this one, and nothing is known of others."""
    one = np.full(120, 7)
    same = evaluate(world.predict, world.batches(), world.targets, bootstrap=100, clusters=one)
    alone = evaluate(world.predict, world.batches(), world.targets, bootstrap=100)
    assert same.as_metrics_json() == alone.as_metrics_json()
    assert (same.is_one_group, alone.is_one_group, same.clusters) == (True, False, None)
    several = evaluate(world.predict, world.batches(), world.targets, bootstrap=100, clusters=np.arange(120) // 12)
    assert not several.is_one_group
    assert several.metrics["label"]["accuracy"] != alone.metrics["label"]["accuracy"]
    (verdict, _) = verdicts(same, split="test", comparisons={})
    assert "say nothing of other groups" in " ".join(verdict.caveats())


@pytest.mark.parametrize("num_classes", [2, 10])
def test_a_thousand_resamples_of_a_thousand_rows_are_not_a_thousand_passes(num_classes):
    """0.2 to 0.4 s of CPU on a slow core; scoring the resamples one by one takes more than 10 s."""
    draws = np.random.default_rng(0)
    target = ClassificationTarget(name="y", columns=("y",), classes=tuple(map(str, range(num_classes))))
    probabilities = torch.tensor(draws.normal(size=(1000, num_classes))).softmax(dim=1).float()
    prediction = {"values": probabilities.argmax(dim=1), "probabilities": probabilities}
    statistics = {"y": statistics_of(target, prediction, draws.integers(0, num_classes, 1000))}
    start = time.process_time()
    found = score([target], np.arange(1000), statistics, bootstrap=1000)
    assert time.process_time() - start < 3
    assert all(one.has_bounds for one in found.metrics["y"].values())


def test_rankings_of_very_many_scores_are_not_resampled(world, monkeypatch):
    monkeypatch.setattr("polysense.evaluation.evaluator.MAX_RANKED", 100)
    found = evaluate(world.predict, world.batches(), world.targets, bootstrap=20)
    assert not found.metrics["label"]["auroc"].has_bounds
    assert math.isfinite(found.value("label", "auroc"))
    assert found.metrics["label"]["log_loss"].has_bounds


def test_the_headline_is_one_line_of_each_targets_first_metric(world):
    found = evaluate(world.predict, world.batches(), world.targets, bootstrap=20)
    label, price = found.headline().split(", ")
    assert label == f"label accuracy 1.000 ({found.metrics['label']['accuracy'].low:.3f} to 1.000)"
    assert price.startswith("price r2 ")
