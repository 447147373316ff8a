"""Choose the rows that a page shows: by chance, the same ones for the same rows."""

from __future__ import annotations

import numpy as np

from polysense.core.random import permutation

__all__ = ["example_rows"]


def example_rows(present: np.ndarray, num_rows: int) -> np.ndarray:
    """Positions to show, in order; a table is often sorted, so not the first ones.

    Args:
        present: bool [rows], which have the target.
        num_rows: At most.
    """
    counted = np.flatnonzero(present)
    return np.sort(counted[permutation(len(counted), "examples")[:num_rows]])
