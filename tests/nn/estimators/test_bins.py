"""Trees grown on the numbers of weighted bins are the trees that scikit-learn grows on the inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from polysense.nn.estimators import boosting
from polysense.nn.estimators.base import ScoreKind
from polysense.nn.estimators.bins import Bins
from polysense.nn.estimators.boosting import BoostingEstimator, BoostingEstimatorConfig
from polysense.nn.estimators.examples import FitRows


def inputs(seed: int, num: int) -> np.ndarray:
    """A smooth input, one of few values, one with a heap at 0, and one that is often missing."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(num, 4)).astype(np.float32)
    values[:, 1] = generator.integers(0, 5, num)
    values[:, 2] = np.maximum(values[:, 2], 0)
    values[generator.random(num) < 0.3, 3] = np.nan
    return values.astype(np.float64)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), num=st.sampled_from([280, 400, 900]))
def test_trees_and_predictions_are_scikit_learns(seed: int, num: int) -> None:
    design = inputs(seed, num)
    generator = np.random.default_rng(seed)
    weights = generator.uniform(0.2, 3, num)
    targets = np.nan_to_num(design).sum(axis=1) + generator.normal(size=num)
    settings_ = {"max_iter": 12, "early_stopping": False, "max_leaf_nodes": 8, "random_state": 0}
    bins = Bins.of(design, weights)
    assert 0 in bins.edges
    assert 1 not in bins.edges
    expected = HistGradientBoostingRegressor(**settings_).fit(design, targets, sample_weight=weights)
    model = HistGradientBoostingRegressor(**settings_).fit(bins.encoded(design), targets, sample_weight=weights)
    other = inputs(seed + 1, num)
    np.testing.assert_allclose(model.predict(bins.encoded(other)), expected.predict(other), rtol=0, atol=1e-9)
    for own, one in zip(model._predictors, expected._predictors, strict=True):
        is_inner = one[0].nodes["is_leaf"] == 0
        np.testing.assert_allclose(bins.thresholds(own[0].nodes)[is_inner], one[0].nodes["num_threshold"][is_inner])


@pytest.mark.parametrize("kind", ["choice", "numbers"])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_estimator_of_many_values_is_scikit_learns(kind: ScoreKind, weighted: bool) -> None:
    num = 700
    features = np.nan_to_num(inputs(5, num)).astype(np.float32)
    generator = np.random.default_rng(5)
    signal = features.sum(axis=1) + generator.normal(size=num)
    targets = signal if kind == "numbers" else (signal > 1).astype(np.float64)
    weights = generator.uniform(0.2, 3, num) if weighted else np.full(num, 2.0)
    rows = FitRows(
        features={"a": features}, present=np.ones((num, 1), dtype=bool), targets=targets[:, None], weights=weights,
        folds=np.arange(num) % 3, seed=7,
    )  # fmt: skip
    estimator = BoostingEstimatorConfig(max_iterations=30).build({"a": 4}, kind, 1 if kind == "numbers" else 2)
    assert isinstance(estimator, BoostingEstimator)
    estimator.fit(rows)
    model_of = HistGradientBoostingRegressor if kind == "numbers" else HistGradientBoostingClassifier
    model = model_of(
        max_iter=estimator.chosen["iterations"], learning_rate=0.1, max_leaf_nodes=8, min_samples_leaf=20,
        l2_regularization=1.0, early_stopping=False, random_state=7,
    )  # fmt: skip
    design = estimator.design({"a": torch.from_numpy(features)}, torch.ones(num, 1, dtype=torch.bool))
    model.fit(design.numpy(), targets, sample_weight=weights / weights.mean())
    raw = estimator.raw(design).numpy()
    result, expected = (
        (raw[:, 0], model.predict(design.numpy()))
        if kind == "numbers"
        else (raw[:, 1] - raw[:, 0], model.decision_function(design.numpy()))
    )
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def test_quantiles_of_weighted_rows_are_not_looked_up_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What scikit-learn does in minutes is done by nobody: it counts as many bins as there are numbers of them."""
    from sklearn.ensemble._hist_gradient_boosting import binning

    def slow(*_: object, **__: object) -> None:
        raise AssertionError("a weighted quantile was looked up by scikit-learn")

    monkeypatch.setattr(binning, "_weighted_percentile", slow)
    monkeypatch.setattr(boosting, "_STEPS", 5)
    num = 600
    features = np.nan_to_num(inputs(1, num)).astype(np.float32)
    for weights in (np.ones(num), np.random.default_rng(0).uniform(0.5, 2, num)):
        rows = FitRows(
            features={"a": features}, present=np.ones((num, 1), dtype=bool), targets=features[:, :1].astype(float),
            weights=weights, folds=np.arange(num) % 3,
        )  # fmt: skip
        estimator = BoostingEstimatorConfig(max_iterations=10).build({"a": 4}, "numbers", 1)
        estimator.fit(rows)
        assert estimator.is_fitted
