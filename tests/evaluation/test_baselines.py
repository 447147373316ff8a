from __future__ import annotations

import math

import numpy as np
import pytest

from polysense.core.metric import Statistics
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.evaluation.baselines import baselines_json, constant_baseline, ensemble_baseline
from polysense.evaluation.evaluator import evaluate
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.record import MultilabelTarget


def prior(target: Target, num_rows: int) -> Statistics:
    """What the task's first baseline predicts."""
    baselines = task(target.task).baselines
    assert not isinstance(baselines, Unsupported)
    return next(iter(baselines(target).values()))({"present": np.ones(num_rows, dtype=bool)})


def test_the_majority_class_on_the_models_rows(world):
    model = evaluate(world.predict, world.batches(), world.targets, bootstrap=0)
    found = constant_baseline(model, bootstrap=50)
    labels = world.labels[world.has_label]
    assert found.value("label", "accuracy") == pytest.approx((labels == 0).mean())
    shares = np.array([30, 20, 10]) / 60
    assert found.value("label", "log_loss") == pytest.approx(-np.log(shares[labels]).mean(), rel=1e-6)
    assert found.value("label", "auroc") == pytest.approx(0.5)
    assert found.metrics["label"]["accuracy"].has_bounds
    assert found.value("price", "mae") == pytest.approx(np.abs(world.prices - 2.0).mean(), rel=1e-5)
    assert found.value("price", "r2") == pytest.approx(0.0, abs=0.05)
    assert found.num_rows == model.num_rows


def test_each_target_has_the_baseline_of_its_task(world):
    model = evaluate(world.predict, world.batches(), world.targets, bootstrap=0)
    plain = baselines_json({"constant": constant_baseline(model, bootstrap=0), "other model": model})
    assert {name: list(heads) for name, heads in plain.items()} == {
        "majority-class baseline": ["label"],
        "mean baseline": ["price"],
        "other model": ["label", "price"],
    }
    assert plain["other model"] == model.as_metrics_json()


def test_multilabel_shares_are_of_the_training_rows():
    target = MultilabelTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(90, 10), num_rows=100)
    found = prior(target, 3)
    assert found["probabilities"][0].tolist() == pytest.approx([0.9, 0.1])
    assert found["predicted"].tolist() == [[True, False]] * 3


def test_a_target_without_counts_gives_equal_shares():
    target = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"))
    assert prior(target, 2)["probabilities"].tolist() == [[0.5, 0.5]] * 2
    never_seen = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(0, 0))
    assert prior(never_seen, 1)["probabilities"].tolist() == [[0.5, 0.5]]


def test_the_ensemble_averages_probabilities_and_values(world):
    parts = [
        evaluate(
            lambda batch, name=name: world.predict_subset(batch, frozenset({name})), world.batches(), world.targets
        )
        for name in ("strong", "weak")
    ]
    found = ensemble_baseline(parts, bootstrap=0)
    one, other = (part.statistics["label"]["probabilities"] for part in parts)
    np.testing.assert_allclose(found.statistics["label"]["probabilities"], (one + other) / 2, rtol=1e-6)
    assert found.statistics["label"]["predicted"].tolist() == (one + other).argmax(axis=1).tolist()
    one, other = (part.statistics["price"]["predicted"] for part in parts)
    np.testing.assert_allclose(found.statistics["price"]["predicted"], (one + other) / 2, rtol=1e-6)
    assert math.isfinite(found.value("label", "auroc"))


def test_models_of_different_rows_make_no_ensemble(world):
    whole = evaluate(world.predict, world.batches(), world.targets, bootstrap=0)
    half = evaluate(world.predict, world.batches(order=np.arange(60)), world.targets, bootstrap=0)
    with pytest.raises(AssertionError, match="different rows"):
        ensemble_baseline([whole, half])
