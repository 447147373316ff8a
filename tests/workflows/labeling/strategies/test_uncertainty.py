from __future__ import annotations

import numpy as np

from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.base import strategy_named
from polysense.workflows.labeling.strategies.uncertainty import entropies, margins

SHARES = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.4, 0.3, 0.3]])


def test_entropy_and_margin_are_those_by_hand() -> None:
    by_hand = [np.log(2), 0.0, -(0.4 * np.log(0.4) + 0.6 * np.log(0.3))]
    np.testing.assert_allclose(entropies(SHARES, "choice"), by_hand, atol=1e-12)
    np.testing.assert_allclose(margins(SHARES, "choice"), [0.0, 1.0, 0.1], atol=1e-12)


def test_of_several_labels_entropies_are_summed_and_the_least_sure_one_has_the_margin() -> None:
    shares = np.array([[0.5, 0.5], [0.9, 0.6], [1.0, 0.0]])
    binary = lambda p: -(p * np.log(p) + (1 - p) * np.log(1 - p))  # noqa: E731
    np.testing.assert_allclose(entropies(shares, "labels"), [2 * np.log(2), binary(0.9) + binary(0.6), 0.0], atol=1e-12)
    np.testing.assert_allclose(margins(shares, "labels"), [0.0, 0.2, 1.0], atol=1e-12)


def test_one_class_alone_is_certain() -> None:
    assert margins(np.ones((3, 1)), "choice").tolist() == [1.0, 1.0, 1.0]


def test_the_rows_between_the_classes_are_chosen_first() -> None:
    position = np.array([-3.0, 3.0, -1.0, 2.0, 0.05])
    learner = Learner(np.stack([position, np.zeros(5)], axis=1), num_outputs=2)
    learner.update([0, 1], [0, 1])
    for name in ("entropy", "margin"):
        assert strategy_named(name).choose(learner, [2, 3, 4], 3, np.random.default_rng(0)).tolist() == [4, 2, 3]


def test_ties_are_broken_by_chance() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([[[-1.0, 0.0], [1.0, 0.0]], np.stack([np.zeros(30), generator.normal(size=30)], axis=1)])
    learner = Learner(values, num_outputs=2)
    learner.update([0, 1], [0, 1])
    learner._scores = np.zeros((32, 2))
    chosen = {
        tuple(strategy_named("margin").choose(learner, range(2, 32), 3, np.random.default_rng(k))) for k in range(9)
    }
    assert len(chosen) > 5
