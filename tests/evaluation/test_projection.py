"""Maps: PCA against the singular value decomposition, t-SNE by what it keeps together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polysense.evaluation.projection import pca, retained_neighbors, tsne


def clouds(num_rows: int = 60, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    labels = np.arange(num_rows) % 3
    return (10.0 * np.eye(3, size)[labels] + draws.standard_normal((num_rows, size))).astype(np.float32), labels


def test_pca_is_the_singular_value_decomposition() -> None:
    vectors, _ = clouds()
    positions, shares = pca(vectors)
    centered = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    np.testing.assert_allclose(np.abs(positions), np.abs(left[:, :2] * values[:2]), atol=1e-6)
    np.testing.assert_allclose(shares, (values**2 / (values**2).sum())[:2], rtol=1e-6)
    assert (positions.max(axis=0) >= -positions.min(axis=0)).all(), "the sign is settled"


def test_pca_of_what_has_no_directions() -> None:
    positions, shares = pca(np.ones((4, 1), dtype=np.float32))
    assert not positions.any()
    assert shares == (0.0, 0.0)


def test_tsne_keeps_clouds_together_and_says_the_same_twice() -> None:
    vectors, labels = clouds()
    positions = tsne(vectors)
    assert positions is not None
    np.testing.assert_array_equal(positions, tsne(vectors))
    gaps = np.square(positions[:, None] - positions).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    assert (labels[gaps.argmin(axis=1)] == labels).mean() > 0.95
    assert tsne(vectors[:7]) is None, "too few"
    assert tsne(vectors[:, :1]) is not None


def test_kept_neighbors() -> None:
    flat = np.random.default_rng(0).standard_normal((80, 2))
    assert retained_neighbors(flat, 3.0 * flat) == pytest.approx(1.0)
    chance = retained_neighbors(flat, np.random.default_rng(1).standard_normal((80, 2)))
    assert chance < 0.3
    assert math.isnan(retained_neighbors(flat[:11], flat[:11]))
