"""Vectors on a sheet of paper, and how much of their neighborhoods is left there.

PCA is linear: distances on the sheet are distances along the two directions that vary most, and what it leaves out is a
number (the share of the variance). t-SNE (van der Maaten & Hinton, "Visualizing Data using t-SNE", 2008) keeps
neighbors together at the price of every larger distance. scikit-learn has both kinds of thing and is there anyway; UMAP
would need umap-learn, and with it numba and LLVM, for an image of the same kind.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

__all__ = ["pca", "retained_neighbors", "tsne"]

_FEWEST = 8  # points of which t-SNE makes more than noise
_PERPLEXITY = 30.0
_DIMENSIONS = 50  # kept before t-SNE: van der Maaten & Hinton, section 4.2, take 30


def pca(
    vectors: Float[np.ndarray, "rows size"], size: int = 2
) -> tuple[Float[np.ndarray, "rows directions"], tuple[float, ...]]:
    """The directions that vary most, and their shares of the variance.

    Args:
        vectors: Without NaN.
        size: Directions; what the vectors lack of them is 0.

    Returns:
        float64 [rows, size], each direction with its larger extreme positive, and the shares.
    """
    coordinates, shares = np.zeros((len(vectors), size)), np.zeros(size)
    # In float64 and centered first: the covariance of values far from 0 would lose its digits.
    centered = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64) if len(vectors) else coordinates
    count = min(size, *centered.shape)
    if not centered.any():  # no direction, and no variance to take a share of
        return coordinates, tuple(shares.tolist())
    from sklearn.decomposition import PCA  # 1 s and 150 MiB that only a map should cost

    model = PCA(count, svd_solver="covariance_eigh")
    coordinates[:, :count] = model.fit_transform(centered)
    shares[:count] = model.explained_variance_ratio_
    extreme = coordinates[np.abs(coordinates).argmax(axis=0), np.arange(size)]
    return coordinates * np.where(extreme < 0, -1.0, 1.0), tuple(shares.tolist())


def tsne(vectors: Float[np.ndarray, "rows size"], seed: int = 0) -> Float[np.ndarray, "rows 2"] | None:
    """The map that keeps neighbors; None for fewer than 8 rows, of which there is none."""
    if len(vectors) < _FEWEST:
        return None
    from sklearn.manifold import TSNE

    small, _ = pca(vectors, min(_DIMENSIONS, vectors.shape[1]))
    start = small[:, :2] if small.shape[1] > 1 else np.pad(small, ((0, 0), (0, 1)))
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    model = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=seed, n_jobs=1)
    result: np.ndarray = np.asarray(model.fit_transform(small.astype(np.float32)), dtype=np.float64)
    return result


def retained_neighbors(
    vectors: Float[np.ndarray, "rows size"], coordinates: Float[np.ndarray, "rows 2"], count: int = 10
) -> float:
    """Of each row's nearest in the space, the share that is among its nearest on the map too; NaN with too few rows.

    Args:
        vectors: In the space.
        coordinates: On the map.
        count: How many of the nearest.
    """
    if len(vectors) <= count + 1:
        return math.nan
    from sklearn.neighbors import NearestNeighbors

    def nearest(points: np.ndarray) -> np.ndarray:
        model = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points.astype(np.float64))
        result: np.ndarray = model.kneighbors(return_distance=False)
        return result

    near, seen = nearest(vectors), nearest(coordinates)
    return float((near[:, :, None] == seen[:, None, :]).sum()) / (count * len(vectors))
