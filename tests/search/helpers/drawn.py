"""Vectors and metadata that are drawn, for every engine's tests."""

from __future__ import annotations

from typing import Any

import numpy as np

DIM = 8


def draw(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=-1, keepdims=True))


def labels(count: int) -> dict[str, list[Any]]:
    return {"label": [f"c{i % 3}" for i in range(count)], "year": [2000 + i if i % 4 else None for i in range(count)]}
