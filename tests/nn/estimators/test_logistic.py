"""A path of penalties gives scikit-learn's optimum at each of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from polysense.nn.estimators import linear
from polysense.nn.estimators.examples import FitRows, mean_loss
from polysense.nn.estimators.inputs import LinearInputs
from polysense.nn.estimators.linear import LinearEstimator, LinearEstimatorConfig
from polysense.nn.estimators.logistic import LogisticPath


def axes(seed: int, num: int, size: int) -> np.ndarray:
    """Inputs along principal axes whose spreads differ a thousandfold."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(num, size)) * np.logspace(0, -3, size)
    left, spread, _ = np.linalg.svd(values, full_matrices=False)
    return left * spread * 3


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000), num=st.sampled_from([30, 120]), size=st.sampled_from([5, 60]),
    classes=st.integers(2, 4),
)  # fmt: skip
def test_each_penalty_gives_scikit_learns_optimum(seed: int, num: int, size: int, classes: int) -> None:
    inputs = axes(seed, num, size)
    generator = np.random.default_rng(seed)
    logits = inputs[:, :1] @ generator.normal(size=(1, classes)) + generator.gumbel(size=(num, classes))
    _, labels = np.unique(logits.argmax(axis=1), return_inverse=True)
    if labels.max() == 0:
        labels[0] = 1
    weights = generator.uniform(0.3, 2, num)
    path = LogisticPath(LinearInputs(inputs), labels, weights)
    for penalty in (10.0, 1.0, 0.05):
        coefficients, intercept = path.fitted(penalty)
        # In one of 900 fits scikit-learn gets no closer than this.
        model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-9, max_iter=500)
        model.fit(inputs, labels, sample_weight=weights)
        expected = model.decision_function(inputs).reshape(num, -1)
        np.testing.assert_allclose(
            _centered(inputs @ coefficients + intercept), _centered(expected), rtol=1e-5, atol=1e-4
        )


def _centered(scores: np.ndarray) -> np.ndarray:
    """Of several classes a constant in all scores means nothing."""
    return scores if scores.shape[1] == 1 else scores - scores.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [20, 200])
def test_the_chosen_penalty_is_that_of_a_plain_grid(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that ends early chooses what the whole grid, fitted by scikit-learn, chooses, and scores alike."""
    num = 100
    generator = np.random.default_rng(4)
    values = generator.normal(size=(num, size)).astype(np.float32)
    targets = (values[:, :3].sum(axis=1) + 2 * generator.normal(size=num) > 0).astype(np.float64)[:, None]
    folds = np.arange(num) % 4
    rows = FitRows(
        features={"a": values},
        present=np.ones((num, 1), dtype=bool),
        targets=targets,
        weights=np.ones(num),
        folds=folds,
    )
    estimator = LinearEstimatorConfig(balanced=False).build({"a": size}, "choice", 2)
    assert isinstance(estimator, LinearEstimator)
    tried: list[float] = []
    fitted = LogisticPath.fitted

    def counted(self: LogisticPath, penalty: float, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        tried.append(penalty)
        return fitted(self, penalty, tolerance)

    monkeypatch.setattr(LogisticPath, "fitted", counted)
    out_of_fold = estimator.fit(rows)
    scaled = (values - values.mean(axis=0, dtype=np.float64)) / values.std(axis=0, dtype=np.float64)
    expected = {}
    for strength in linear._STRENGTHS:
        scores = np.zeros((num, 2))
        for fold in range(4):
            train, test = folds != fold, folds == fold
            model = LogisticRegression(C=strength / size, solver="newton-cholesky", tol=1e-12, max_iter=500)
            model.fit(scaled[train], targets[train, 0])
            scores[test] = model.decision_function(scaled[test])[:, None] * [-0.5, 0.5]
        expected[strength] = scores
    examples = _examples(rows)
    losses = {strength: mean_loss(scores, examples) for strength, scores in expected.items()}
    best = min(losses, key=lambda each: losses[each])
    assert estimator.chosen["strength"] == best
    np.testing.assert_allclose(out_of_fold, expected[best], rtol=0, atol=1e-5)
    position = linear._STRENGTHS.index(best)
    roughly = 4 * min(position + 1 + linear._PATIENCE, len(linear._STRENGTHS))
    assert len(tried) == roughly + 4 + 1, "what is chosen is fitted exactly: in the folds, and once for all rows"


def _examples(rows: FitRows) -> linear.Examples:
    return linear.Examples(
        design=rows.features["a"].astype(np.float64), targets=rows.targets, weights=rows.weights, folds=rows.folds,
        blocks=(slice(0, rows.features["a"].shape[1]),), kind="choice", num_outputs=2, seed=0,
    )  # fmt: skip
