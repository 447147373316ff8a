"""Scores of novelty agree with their definitions, and what they notice is told from what they do not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ShrunkCovariance
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from polysense.core.json import to_json
from polysense.evaluation.audit.novelty import Novelty, detections, mahalanobis_distance, neighbor_distance

DRAWS = np.random.default_rng(0)
KNOWN, ROWS = DRAWS.normal(size=(300, 6)) + 1, DRAWS.normal(size=(700, 6)) + 1


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_distance_is_to_the_tenth_neighbor() -> None:
    distances, _ = NearestNeighbors(n_neighbors=10).fit(unit(KNOWN)).kneighbors(unit(ROWS))
    np.testing.assert_allclose(neighbor_distance(KNOWN, ROWS), distances[:, 9], atol=1e-7)
    few = neighbor_distance(KNOWN[:3], ROWS[:5])
    assert few.shape == (5,)
    assert np.isfinite(neighbor_distance(np.zeros((4, 2)), np.zeros((2, 2)))).all()


def test_mahalanobis_distance_is_that_of_a_shrunk_covariance() -> None:
    expected = np.sqrt(ShrunkCovariance(shrinkage=0.1).fit(KNOWN).mahalanobis(ROWS))
    np.testing.assert_allclose(mahalanobis_distance(KNOWN, ROWS), expected, rtol=1e-6)
    assert np.isfinite(mahalanobis_distance(np.ones((5, 3)), np.ones((2, 3)))).all(), "nothing varies"


def test_a_change_that_is_noticed_is_told_from_one_that_is_not() -> None:
    clean = {"distance": DRAWS.normal(size=200)}
    far, same = clean["distance"] + 2, DRAWS.permutation(clean["distance"])
    far[:20] = np.nan
    changed = {"sound from another row": {"distance": far}, "note from another row": {"distance": same}}
    changes = detections(clean, changed, clusters=None, bootstrap=200, confidence=0.95, seed=0)
    noticed, unnoticed = changes
    assert noticed.num == 180
    truth = np.repeat([0, 1], 180)
    expected = roc_auc_score(truth, np.concatenate([clean["distance"][20:], far[20:]]))
    assert noticed.aurocs["distance"].value == pytest.approx(expected)
    assert noticed.is_noticed
    assert not unnoticed.is_noticed
    part = Novelty(target="y", reference="300 training rows", scores=("distance",), changes=changes)
    first, last = part.findings()
    assert first.startswith("Rows with sound from another row stand out by their distance: AUROC 0.9")
    assert last == "No score of the model's own notices rows with note from another row."
    to_json(part.record())


def test_changes_of_nothing_are_rarely_noticed() -> None:
    noticed = 0
    for seed in range(40):
        draws = np.random.default_rng(seed)
        clean = {name: draws.normal(size=100) for name in ("a", "b")}
        changed = {str(i): {name: draws.permutation(values) for name, values in clean.items()} for i in range(4)}
        changes = detections(clean, changed, clusters=None, bootstrap=200, confidence=0.95, seed=seed)
        noticed += any(each.is_noticed for each in changes)
    assert noticed <= 5


def test_no_rows_have_no_changes() -> None:
    nothing = np.zeros(0)
    assert detections({"a": nothing}, {"x": {"a": nothing}}, clusters=None, bootstrap=10, confidence=0.9, seed=0) == ()
