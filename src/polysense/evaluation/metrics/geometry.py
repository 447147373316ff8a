"""The shape of a set of embeddings: how evenly it fills the sphere, and along how many directions it lies.

Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
2020, section 4; Roy & Vetterli, "The effective rank", 2007.
"""

from __future__ import annotations

import math

import numpy as np

from polysense.evaluation.metrics.base import chunks

__all__ = ["effective_rank", "uniformity"]


def uniformity(embeddings: np.ndarray) -> float:
    """log of the mean of exp(-2 |x - y|^2) over the pairs of different rows; NaN with fewer than two rows.

    Args:
        embeddings: float [rows, size], of length 1.
    """
    if len(embeddings) < 2:
        return math.nan
    plain = embeddings.astype(np.float32)
    total = 0.0
    for some in chunks(len(plain), len(plain)):
        total += float(np.exp(4.0 * np.minimum(plain[some] @ plain.T, 1.0) - 4.0).sum(dtype=np.float64))
    own = float(np.exp(4.0 * np.minimum(np.square(plain).sum(axis=1), 1.0) - 4.0).sum(dtype=np.float64))
    return math.log(max(total - own, 1e-300) / (len(plain) * (len(plain) - 1)))


def effective_rank(embeddings: np.ndarray) -> float:
    """exp of the entropy of the singular values' shares; NaN with no rows.

    Args:
        embeddings: float [rows, size].
    """
    if not len(embeddings):
        return math.nan
    plain = embeddings.astype(np.float64)
    # The singular values by way of the smaller product: a split has more rows than a space has numbers.
    values = np.sqrt(np.clip(np.linalg.eigvalsh(plain.T @ plain), 0.0, None))
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
