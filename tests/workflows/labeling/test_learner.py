from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from polysense.errors import ConfigError, TableError
from polysense.workflows.labeling.learner import Learner


def _rows(num: int = 60, size: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(num, size))


@pytest.mark.parametrize("num_classes", [2, 3])
def test_it_is_the_logistic_regression_of_the_labeled_rows(num_classes: int) -> None:
    values = _rows()
    labels = (values[:, 0] > 0).astype(int) + (values[:, 1] > 0) * (num_classes - 2)
    learner = Learner(values, num_outputs=num_classes)
    learner.update(range(15), labels[:15])
    scaled, norm = learner.features.values.astype(float), learner.features.norm
    reference = LogisticRegression(C=learner.strength / norm, tol=1e-8, max_iter=10_000).fit(scaled[:15], labels[:15])
    np.testing.assert_allclose(learner.probabilities(), reference.predict_proba(scaled), atol=2e-4)
    assert (learner.predictions() == reference.predict(scaled)).all()


def test_of_numbers_it_is_the_ridge_regression_in_their_units() -> None:
    values = _rows()
    numbers = np.stack([1000 + 50 * values[:, 0], values[:, 1]], axis=1)
    learner = Learner(values, num_outputs=2, kind="numbers")
    learner.update(range(15), numbers[:15])
    scaled = learner.features.values.astype(float)
    reference = Ridge(alpha=4 * learner.features.norm / learner.strength).fit(scaled[:15], numbers[:15])
    np.testing.assert_allclose(learner.predictions(), reference.predict(scaled), rtol=1e-4, atol=1e-3)
    with pytest.raises(ConfigError, match="no probabilities"):
        learner.probabilities()


def test_of_several_labels_each_is_its_own_regression_and_may_be_unknown() -> None:
    values = _rows()
    labels = (values[:, :2] > 0).astype(float)
    labels[3, 1] = np.nan
    learner = Learner(values, num_outputs=2, kind="labels")
    learner.update(range(15), labels[:15])
    scaled = learner.features.values.astype(float)
    known = [row for row in range(15) if row != 3]
    reference = LogisticRegression(C=learner.strength / learner.features.norm, tol=1e-8).fit(
        scaled[known], labels[known, 1]
    )
    np.testing.assert_allclose(learner.probabilities()[:, 1], reference.predict_proba(scaled)[:, 1], atol=2e-4)


def test_a_label_is_replaced_and_taken_away() -> None:
    learner = Learner(_rows(), num_outputs=2)
    learner.update([0, 1, 2], [0, 1, 1])
    learner.update([2], [0])
    other = Learner(_rows(), num_outputs=2)
    other.update([0, 1, 2], [0, 1, 0])
    assert (learner.probabilities() == other.probabilities()).all()
    learner.update([0, 1, 2], [np.nan] * 3)
    assert learner.num_labeled == 0
    assert not learner.can_tell
    assert (learner.probabilities() == 0.5).all()
    learner.update([], [])
    assert learner.num_labeled == 0


def test_one_class_alone_and_one_that_no_label_names() -> None:
    learner = Learner(_rows(), num_outputs=3)
    learner.update([0, 1], [2, 2])
    assert not learner.can_tell
    assert (learner.predictions() == 2).all()
    learner.update([2], [0])
    assert learner.can_tell
    assert (learner.probabilities()[:, 1] < 0.01).all()


def test_the_penalty_is_chosen_once_there_are_labels_enough() -> None:
    values = _rows(200, 3)
    learner = Learner(values, num_outputs=2)
    usual = learner.strength
    learner.update(range(15), (values[:15, 0] > 0).astype(int))
    learner.scores()
    assert learner.strength == usual
    learner.update(range(100), (values[:100, 0] > 0).astype(int))
    learner.scores()
    assert learner.strength > usual
    noise = Learner(values, num_outputs=2)
    noise.update(range(100), np.random.default_rng(0).integers(0, 2, 100))
    noise.scores()
    assert noise.strength < usual


def test_other_rows_are_scored_on_the_same_scales() -> None:
    values = 5 + 3 * _rows()
    learner = Learner(values, num_outputs=2)
    learner.update([0, 1], [0, 1])
    np.testing.assert_allclose(learner.scores(learner.features.transform(values[:7])), learner.scores()[:7], atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([60], [0], "found 60, expected numbers from 0 to 59"),
        ([0], [3], "found 3, expected whole numbers from 0 to 2"),
        ([0], [0.5], "found 0.5, expected whole"),
        ([0], [np.inf], "infinite"),
        ([0, 1], [0], "expected 1 numbers of each of 2 rows"),
        ([0], ["cat"], "found .'cat'., expected 1 numbers"),
        ([0], [[0, 1]], "found 2 values of a row, expected 1"),
    ],
)
def test_what_can_be_no_label_is_refused(rows: list[int], labels: list[object], message: str) -> None:
    with pytest.raises(TableError, match=message):
        Learner(_rows(), num_outputs=3).update(rows, labels)


def test_a_learner_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_outputs: found 0"):
        Learner(_rows(), num_outputs=0)
