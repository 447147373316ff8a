"""Estimators: scikit-learn's numbers as tensors, whatever was fitted; absence; the same bits alone and in a batch."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge

from polysense.config.base import members
from polysense.nn.estimators import boosting, forest, linear
from polysense.nn.estimators.base import Estimator, EstimatorConfig, ScoreKind
from polysense.nn.estimators.boosting import BoostingEstimator
from polysense.nn.estimators.examples import FitRows, folds_of, row_losses
from polysense.nn.estimators.forest import ForestEstimator, ForestEstimatorConfig
from polysense.nn.estimators.linear import LinearEstimator, LinearEstimatorConfig

SIZES = {"a": 3, "b": 2}
KINDS: tuple[ScoreKind, ...] = ("choice", "labels", "numbers")
OUTPUTS = {"choice": 3, "labels": 2, "numbers": 2}


def rows(seed: int, num: int = 90, kind: ScoreKind = "choice", outputs: int = 3, missing: float = 0.2) -> FitRows:
    generator = np.random.default_rng(seed)
    features = {name: generator.normal(size=(num, size)).astype(np.float32) for name, size in SIZES.items()}
    present = generator.random((num, len(SIZES))) >= missing
    signal = features["a"][:, :1] * present[:, :1] * 2 + features["b"][:, 1:] * present[:, 1:]
    noisy = signal + 0.3 * generator.normal(size=(num, outputs))
    if kind == "choice":
        edges = np.quantile(noisy[:, 0], np.arange(1, outputs) / outputs)
        targets = np.searchsorted(edges, noisy[:, :1]).astype(np.float64)
    else:
        targets = (noisy > 0).astype(np.float64) if kind == "labels" else noisy
    folds = folds_of(targets, kind, None, 4, seed)
    return FitRows(features=features, present=present, targets=targets, weights=np.ones(num), folds=folds, seed=seed)


def build(name: str, kind: ScoreKind, outputs: int | None = None, **settings: Any) -> Estimator:
    config = members("estimator")[name](**settings)
    assert isinstance(config, EstimatorConfig)
    return config.build(SIZES, kind, OUTPUTS[kind] if outputs is None else outputs)


def fast(name: str) -> dict[str, Any]:
    return {"boosting": {"max_iterations": 20}, "forest": {"num_trees": 20}}.get(name, {})


def tensors(data: FitRows) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    return {name: torch.from_numpy(each) for name, each in data.features.items()}, torch.from_numpy(data.present)


def design(estimator: Estimator, data: FitRows) -> np.ndarray:
    return estimator.design(*tensors(data)).numpy()


def labeled(data: FitRows, generator: np.random.Generator, kind: str) -> np.ndarray:
    if kind == "numbers":
        return data.targets[:, 0]
    return data.targets[:, 0].astype(np.int64)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), outputs=st.integers(2, 4), splits=st.sampled_from(["random", "best"]))
def test_a_forest_gives_scikit_learns_probabilities(seed: int, outputs: int, splits: str) -> None:
    data = rows(seed, outputs=outputs)
    estimator = build("forest", "choice", outputs, num_trees=7)
    assert isinstance(estimator, ForestEstimator)
    inputs = design(estimator, data)
    kind = ExtraTreesClassifier if splits == "random" else RandomForestClassifier
    model = kind(n_estimators=7, random_state=seed, min_samples_leaf=1 + seed % 3).fit(inputs, data.targets[:, 0])
    estimator.take(copy.deepcopy([model]))
    # Thresholds lie between two float32 numbers that may be neighbors: rows on them go where scikit-learn's go.
    thresholds = np.concatenate([tree.tree_.threshold for tree in model.estimators_]).astype(np.float32)
    other = inputs.copy()
    other[:, 0] = np.resize(thresholds, len(other))
    for each in (inputs, other):
        np.testing.assert_allclose(
            estimator.raw(torch.from_numpy(each)).numpy(), model.predict_proba(each), atol=1e-6, rtol=0
        )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_forest_gives_scikit_learns_numbers(seed: int) -> None:
    data = rows(seed, kind="numbers", outputs=2)
    for kind in (ExtraTreesRegressor, RandomForestRegressor):
        estimator = build("forest", "numbers", num_trees=5)
        assert isinstance(estimator, ForestEstimator)
        inputs = design(estimator, data)
        model = kind(n_estimators=5, random_state=seed).fit(inputs, data.targets)
        estimator.take(copy.deepcopy([model]))
        np.testing.assert_allclose(estimator.raw(torch.from_numpy(inputs)).numpy(), model.predict(inputs), atol=1e-6)
        # One for each output, where rows lack some.
        each = [kind(n_estimators=5, random_state=seed).fit(inputs, data.targets[:, i]) for i in range(2)]
        estimator.take(copy.deepcopy(each))
        expected = np.stack([one.predict(inputs) for one in each], axis=1)
        np.testing.assert_allclose(estimator.raw(torch.from_numpy(inputs)).numpy(), expected, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), outputs=st.integers(2, 4), iterations=st.integers(1, 12))
def test_boosting_gives_scikit_learns_decisions_with_missing_inputs(seed: int, outputs: int, iterations: int) -> None:
    data = rows(seed, outputs=outputs, missing=0.4)
    estimator = build("boosting", "choice", outputs)
    assert isinstance(estimator, BoostingEstimator)
    inputs = design(estimator, data)
    assert np.isnan(inputs).any()
    model = HistGradientBoostingClassifier(max_iter=iterations, min_samples_leaf=2, early_stopping=False)
    model.fit(inputs, data.targets[:, 0])
    estimator.take([model], iterations)
    raw = estimator.raw(torch.from_numpy(inputs)).numpy()
    decision = model.decision_function(inputs)
    result = raw[:, 1] - raw[:, 0] if outputs == 2 else raw
    np.testing.assert_allclose(result, decision, atol=1e-6)
    probabilities = torch.from_numpy(raw).softmax(dim=1).numpy()
    np.testing.assert_allclose(probabilities, model.predict_proba(inputs), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_boosting_has_as_many_trees_as_cross_validation_says(kind: ScoreKind) -> None:
    data = rows(3, num=60, kind=kind, outputs=OUTPUTS[kind])
    estimator = build("boosting", kind, max_iterations=60)
    assert isinstance(estimator, BoostingEstimator)
    out_of_fold = estimator.fit(data)
    (count,) = estimator.chosen.values()
    usable = data.present.any(axis=1)
    losses, scores = {}, {}
    for iterations in range(10, 61, 10):
        fixed = build("boosting", kind, max_iterations=iterations)
        assert isinstance(fixed, BoostingEstimator)
        # One count alone is tried where the first is the last.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(boosting, "_STEPS", iterations)
            scores[iterations] = fixed.fit(data)
        losses[iterations] = row_losses(scores[iterations][usable], data.targets[usable], kind).mean()
    assert count == min(losses, key=lambda each: losses[each])
    np.testing.assert_array_equal(out_of_fold, scores[count])


def test_boosting_bins_the_columns_of_a_fold_once_where_its_first_trees_are_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each fit bins all columns anew, which was half of the time of a wide table."""
    fits: list[int] = []
    fit = HistGradientBoostingClassifier.fit

    def counted(self: Any, *args: Any, **more: Any) -> Any:
        fits.append(self.max_iter)
        return fit(self, *args, **more)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", counted)
    data = rows(3, num=60, missing=0.0)
    estimator = build("boosting", "choice", max_iterations=200)
    estimator.fit(data)
    (count,) = estimator.chosen.values()
    folds = len(np.unique(data.folds))
    assert fits[-1] == count
    assert max(fits) <= count + 10 * 3  # no tree beyond the patience
    assert len(fits) <= 1 + folds * count / 10


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_boosting_gives_scikit_learns_numbers(seed: int) -> None:
    data = rows(seed, kind="numbers", outputs=2)
    estimator = build("boosting", "numbers")
    assert isinstance(estimator, BoostingEstimator)
    inputs = design(estimator, data)
    models = [
        HistGradientBoostingRegressor(max_iter=9, early_stopping=False).fit(inputs, data.targets[:, i])
        for i in range(2)
    ]
    estimator.take(models, 9)
    expected = np.stack([model.predict(inputs) for model in models], axis=1)
    np.testing.assert_allclose(estimator.raw(torch.from_numpy(inputs)).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("outputs", [2, 3])
@pytest.mark.parametrize("strength", [0.3, 20.0])
def test_a_linear_one_is_scikit_learns_logistic_regression(outputs: int, strength: float) -> None:
    data = rows(1, outputs=outputs, missing=0.0)
    estimator = build("linear", "choice", outputs, strength=strength, balanced=False)
    estimator.fit(data)
    inputs = design(estimator, data)
    spread = inputs.std(axis=0)
    scaled = (inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    # Rows have five standardized inputs (the two of missing columns are constant): their squared norm is 5.
    model = LogisticRegression(C=strength / 5, tol=1e-8, max_iter=10_000).fit(scaled, data.targets[:, 0])
    raw = estimator.raw(torch.from_numpy(inputs)).numpy()
    result = raw[:, 1] - raw[:, 0] if outputs == 2 else raw
    expected = model.decision_function(scaled)
    if outputs > 2:  # a constant in all scores means nothing
        result, expected = (each - each.mean(axis=1, keepdims=True) for each in (result, expected))
    np.testing.assert_allclose(result, expected, atol=1e-4)
    exact = estimator.raw(torch.from_numpy(inputs))
    assert isinstance(estimator, LinearEstimator)
    folded = (inputs - estimator.center.numpy()) @ estimator.coefficients.numpy().T + estimator.intercept.numpy()
    np.testing.assert_allclose(exact.numpy(), folded, atol=1e-6)


@pytest.mark.parametrize("num", [20, 90])
def test_a_linear_one_is_scikit_learns_ridge(num: int) -> None:
    """With more rows than inputs and with fewer, for which rows are rotated."""
    generator = np.random.default_rng(0)
    wide = {"a": generator.normal(size=(num, 40)).astype(np.float32) * 3 + 1}
    targets = wide["a"][:, :1] + generator.normal(size=(num, 1))
    data = FitRows(
        features=wide, present=np.ones((num, 1), dtype=bool), targets=targets,
        weights=generator.uniform(0.5, 2, num), folds=np.arange(num) % 3,
    )  # fmt: skip
    estimator = LinearEstimatorConfig(strength=2.0, balanced=False).build({"a": 40}, "numbers", 1)
    estimator.fit(data)
    inputs = estimator.design({"a": torch.from_numpy(wide["a"])}, torch.ones(num, 1, dtype=torch.bool))
    weights = data.weights / data.weights.mean()
    mean = np.average(inputs, axis=0, weights=weights)
    spread = np.sqrt(np.average((inputs.numpy() - mean) ** 2, axis=0, weights=weights))
    scaled = ((inputs.numpy() - mean) / np.where(spread > 0, spread, 1.0))[:, :40]
    model = Ridge(alpha=4 * 40 / 2.0).fit(scaled, targets[:, 0], sample_weight=weights)
    np.testing.assert_allclose(estimator.raw(inputs)[:, 0].numpy(), model.predict(scaled), atol=1e-6)


def words(num: int, kind: ScoreKind) -> FitRows:
    """Rows of 60 counts that are mostly 0, and four numbers beside them."""
    generator = np.random.default_rng(5)
    counts = generator.poisson(0.08, (num, 60)).astype(np.float32)
    numbers = generator.normal(size=(num, 4)).astype(np.float32) @ generator.normal(size=(4, 4)).astype(np.float32)
    signal = counts[:, :2].sum(axis=1) - counts[:, 2] + 0.3 * numbers[:, 0]
    noisy = signal + 0.5 * generator.normal(size=num)
    targets = np.digitize(noisy, [-0.3, 0.4]).astype(np.float64)[:, None]
    if kind != "choice":
        targets = np.stack([noisy, -signal], axis=1)
        targets = (targets > 0).astype(np.float64) if kind == "labels" else targets
    return FitRows(
        features={"a": counts, "b": numbers}, present=generator.random((num, 2)) > 0.1, targets=targets,
        weights=generator.uniform(0.5, 2, num), folds=np.arange(num) % 4,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_inputs_give_the_rotated_ones_model(kind: ScoreKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same optimum, settings and scores of rows that were not fitted on; some folds decide for all."""
    data = words(200, kind)
    built = [LinearEstimatorConfig().build({"a": 60, "b": 4}, kind, OUTPUTS[kind]) for _ in range(2)]
    expected = built[0].fit(data)
    monkeypatch.setattr(linear, "_ROTATED", 10)
    spaces: list[bool] = []
    space = linear._space

    def noted(*each: Any) -> Any:
        result = space(*each)
        spaces.append(result.inputs.sparse is not None)
        return result

    monkeypatch.setattr(linear, "_space", noted)
    scores = built[1].fit(data)
    assert spaces
    assert all(spaces)
    assert built[1].chosen == built[0].chosen
    known = data.present.any(axis=1)
    np.testing.assert_allclose(scores[known], expected[known], atol=0.06)
    np.testing.assert_allclose(built[1](*tensors(data)).numpy(), built[0](*tensors(data)).numpy(), atol=1e-4)
    # Two of the four folds decide, and what they choose is fitted for the others too.
    monkeypatch.setattr(linear, "_DECIDING_ROWS", 60)
    decided = LinearEstimatorConfig().build({"a": 60, "b": 4}, kind, OUTPUTS[kind])
    scores = decided.fit(data)
    assert np.isfinite(scores[known]).all()
    if decided.chosen == built[0].chosen:
        np.testing.assert_allclose(scores[known], expected[known], atol=0.06)


def test_a_forest_of_many_rows_looks_at_no_rare_input(monkeypatch: pytest.MonkeyPatch) -> None:
    data = words(300, "choice")
    data.features["a"][:, 10:] = 0.0
    data.features["a"][0, 10:] = 1.0
    monkeypatch.setattr(forest, "_FEW_ROWS", 100)
    estimator = ForestEstimatorConfig(num_trees=10).build({"a": 60, "b": 4}, "choice", 3)
    estimator.fit(data)
    used = set(estimator.get_buffer("feature").tolist())
    assert used & set(range(60, 64))
    assert not used & set(range(10, 60))
    assert row_losses(estimator(*tensors(data)).numpy(), data.targets, "choice").mean() < 0.8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
def test_each_learns_and_judges_rows_that_it_was_not_fitted_on(name: str, kind: ScoreKind) -> None:
    data = rows(3, 150, kind, OUTPUTS[kind])
    estimator = build(name, kind, **fast(name))
    assert not estimator.is_fitted
    out_of_fold = estimator.fit(data)
    assert estimator.is_fitted
    known = data.present.any(axis=1)
    assert np.isnan(out_of_fold[~known]).all()
    assert np.isfinite(out_of_fold[known]).all()
    own = estimator(*tensors(data)).numpy()
    losses = [row_losses(scores[known], data.targets[known], kind).mean() for scores in (out_of_fold, own)]
    constant = {"choice": np.log(3), "labels": np.log(2), "numbers": data.targets.var()}[kind]
    assert losses[1] < losses[0] < 0.8 * constant
    again = build(name, kind, **fast(name))
    assert np.array_equal(again.fit(data), out_of_fold, equal_nan=True)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in estimator.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
def test_unknown_targets_and_classes_that_no_row_has(name: str, kind: ScoreKind) -> None:
    data = rows(4, 60, kind, OUTPUTS[kind])
    data.targets[::3, 0] = np.nan
    if kind == "choice":
        data.targets[data.targets[:, 0] == 1] = np.nan
    elif kind == "labels":
        data.targets[:, 1] = 0.0
    else:
        data.targets[:, 1] = np.nan
    estimator = build(name, kind, **fast(name))
    out_of_fold = estimator.fit(data)
    scores = estimator(*tensors(data))
    assert scores.isfinite().all()
    if kind == "choice":
        assert scores.softmax(dim=1)[:, 1].max() < 0.01
        assert np.isnan(out_of_fold[np.isnan(data.targets[:, 0])]).all()
    elif kind == "labels":
        assert scores[:, 1].sigmoid().max() < 0.1


@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
def test_a_row_of_weight_zero_teaches_nothing(name: str) -> None:
    data = rows(5)
    some = np.arange(90) < 60
    weights = some.astype(np.float64)
    part = FitRows(
        features={key: value[some] for key, value in data.features.items()}, present=data.present[some],
        targets=data.targets[some], weights=weights[some], folds=data.folds[some],
    )  # fmt: skip
    # The means of missing inputs are of all rows.
    whole = FitRows(
        features=data.features, present=data.present & some[:, None], targets=data.targets, weights=weights,
        folds=data.folds,
    )  # fmt: skip
    fitted = [build(name, "choice", **fast(name)) for _ in range(2)]
    for estimator, each in zip(fitted, (part, whole), strict=True):
        estimator.fit(each)
    torch.testing.assert_close(fitted[0](*tensors(data)), fitted[1](*tensors(data)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
def test_a_row_has_the_same_bits_wherever_it_stands(name: str, kind: ScoreKind) -> None:
    data = rows(6, 64, kind, OUTPUTS[kind])
    estimator = build(name, kind, **fast(name))
    estimator.fit(data)
    features, present = tensors(data)
    scores = estimator({key: value[:32] for key, value in features.items()}, present[:32])
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        order = torch.randperm(32, generator=generator)
        moved = {key: value[:32][order].clone() for key, value in features.items()}
        for value in moved.values():
            value[16:] = torch.randn(value[16:].shape, generator=generator)
        assert torch.equal(estimator(moved, present[:32][order])[:16], scores[order][:16])


@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
def test_what_an_absent_column_holds_reaches_nothing(name: str) -> None:
    data = rows(7)
    estimator = build(name, "choice", **fast(name))
    estimator.fit(data)
    features, present = tensors(data)
    present = present.clone()
    present[:, 1] = False
    expected = estimator(features, present)
    other = {**features, "b": torch.full_like(features["b"], torch.nan)}
    assert torch.equal(estimator(other, present), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
def test_a_state_brings_its_sizes_along(name: str, kind: ScoreKind) -> None:
    data = rows(8, kind=kind, outputs=OUTPUTS[kind])
    estimator = build(name, kind, **fast(name))
    estimator.fit(data)
    loaded = build(name, kind, **fast(name))
    loaded.load_state_dict(estimator.state_dict())
    assert torch.equal(loaded(*tensors(data)), estimator(*tensors(data)))


@pytest.mark.parametrize(
    ("buffer", "change"), [("left", 0), ("right", 10**6), ("feature", 99), ("leaf", 10**6), ("roots", -1)]
)
@pytest.mark.parametrize("name", ["boosting", "forest"])
def test_trees_that_lead_nowhere_are_refused(name: str, buffer: str, change: int) -> None:
    estimator = build(name, "choice", **fast(name))
    estimator.fit(rows(9))
    state = {key: value.clone() for key, value in estimator.state_dict().items()}
    inner = int((state["left"] != torch.arange(len(state["left"]))).nonzero()[1])
    state[buffer][inner if buffer != "roots" else 0] = change
    with pytest.raises(ValueError, match="no decision trees"):
        build(name, "choice", **fast(name)).load_state_dict(state)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
@pytest.mark.parametrize("num", [0, 1, 2, 5])
def test_columns_that_few_rows_have_in_one_fold(name: str, kind: ScoreKind, num: int) -> None:
    data = rows(1, num=30, kind=kind, outputs=OUTPUTS[kind])
    chosen = np.flatnonzero(data.folds == 2)[:num]
    present = np.zeros((30, 2), dtype=bool)
    present[chosen, 0] = True
    few = FitRows(
        features=data.features, present=present, targets=data.targets, weights=data.weights, folds=data.folds, seed=1
    )
    estimator = build(name, kind, **fast(name))
    found = np.isfinite(estimator.fit(few)).all(axis=1)
    assert estimator.is_fitted is (num > 0)
    # The score of one row alone would be that of an estimator which has seen it, or none.
    assert np.flatnonzero(found).tolist() == (chosen.tolist() if num > 1 else [])
    if num:
        assert estimator(*tensors(few)).isfinite().all()


def test_folds_keep_groups_whole_and_classes_even() -> None:
    targets = np.repeat(np.arange(3.0), 40)[:, None]
    folds = folds_of(targets, "choice", None, 5, 0)
    assert (np.bincount(folds * 3 + targets[:, 0].astype(int)) == 8).all()
    groups = [f"g{i % 13}" if i % 10 else None for i in range(120)]
    folds = folds_of(targets, "choice", groups, 4, 0)
    for group in {group for group in groups if group is not None}:
        assert len({fold for fold, each in zip(folds, groups, strict=True) if each == group}) == 1
    assert np.bincount(folds, minlength=4).min() >= 25
    assert len(set(folds_of(targets[:2], "choice", ["x", "x"], 5, 0).tolist())) == 1


def test_prediction_needs_no_scikit_learn() -> None:
    code = """
        import sys
        for blocked in ("sklearn", "scipy"):
            sys.modules[blocked] = None
        import torch
        from polysense.nn.estimators.forest import ForestEstimatorConfig
        state = torch.load(sys.argv[1])
        estimator = ForestEstimatorConfig().build({"a": 3, "b": 2}, "choice", 3)
        estimator.load_state_dict(state)
        print(estimator({"a": torch.ones(2, 3), "b": torch.ones(2, 2)}, torch.ones(2, 2, dtype=torch.bool)).tolist())
    """
    import tempfile

    estimator = build("forest", "choice", num_trees=5)
    estimator.fit(rows(10))
    with tempfile.NamedTemporaryFile() as file:
        torch.save(estimator.state_dict(), file.name)
        command = [sys.executable, "-c", textwrap.dedent(code), file.name]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    there = torch.ones(2, 2, dtype=torch.bool)
    expected = estimator({"a": torch.ones(2, 3), "b": torch.ones(2, 2)}, there).tolist()
    assert result.stdout.strip() == str(expected)


def test_trees_that_are_put_anew_are_the_ones_that_are_walked() -> None:
    features, estimators = {n: torch.from_numpy(v) for n, v in rows(0).features.items()}, []
    for seed in (0, 1):
        estimators.append(build("forest", "choice", num_trees=3))
        estimators[-1].fit(rows(seed))
    present = torch.ones(90, 2, dtype=torch.bool)
    first, second = (each(features, present) for each in estimators)
    assert not torch.equal(first, second)
    estimators[0].load_state_dict(estimators[1].state_dict())
    assert torch.equal(estimators[0](features, present), second)
