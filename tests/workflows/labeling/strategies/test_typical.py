from __future__ import annotations

import numpy as np

from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.base import strategy_named
from polysense.workflows.labeling.strategies.typical import typicality


def _clusters(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    centers = 20 * np.eye(len(sizes))
    which = np.repeat(np.arange(len(sizes)), sizes)
    return centers[which] + generator.normal(size=(len(which), len(sizes))), which


def test_each_cluster_gives_its_most_typical_row_the_largest_first() -> None:
    values, which = _clusters([30, 20, 10])
    learner = Learner(values, num_outputs=3)
    chosen = strategy_named("typical").choose(learner, range(60), 3, np.random.default_rng(0))
    assert which[chosen].tolist() == [0, 1, 2]
    center = values[which == 0].mean(axis=0)
    distances = np.linalg.norm(values[which == 0] - center, axis=1)
    assert distances[chosen[0]] < np.median(distances)


def test_clusters_with_a_label_come_later() -> None:
    values, which = _clusters([30, 20, 10])
    learner = Learner(values, num_outputs=3)
    learner.update([0], [0])
    chosen = strategy_named("typical").choose(learner, range(1, 60), 2, np.random.default_rng(0))
    assert which[chosen].tolist() == [1, 2]


def test_typicality_is_one_over_the_mean_distance_to_the_nearest_20() -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    distances = np.sort(np.linalg.norm(values[:, None] - values, axis=2), axis=1)[:, 1:21]
    np.testing.assert_allclose(typicality(values), 1 / distances.mean(axis=1), rtol=1e-6)
    assert typicality(values[:1]).tolist() == [1.0]
