"""Split conformal intervals: how far a prediction may be off, from rows that were not trained on.

Source: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, "Distribution-Free Predictive Inference for Regression", JASA 2018,
section 2.2. The margin is the k-th smallest residual of n rows, k = ceil((n + 1) * level). A new row that is drawn as
these were lies inside with a probability of at least the level, whatever the model and the distribution. Residuals are
of the scaled number, so that intervals of a logarithm are wide where numbers are large.

Two things bend the promise a little: validation rows chose the epoch too, and rows of a group (a person, a day) are not
drawn one by one. How many test rows lie inside is a metric (`coverage`) and stands in the report.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["conformal_margin"]

_ROUNDING = 1e-5
"""Of a margin: what float32 loses on the way to the table's units."""


def conformal_margin(residuals: np.ndarray, level: float) -> float:
    """The margin that holds a new row with the probability `level`.

    Args:
        residuals: float64 [rows], absolute; infinite where no margin reaches the value.
        level: Above 0 and below 1.

    Returns:
        Infinite where there are too few rows, fewer than level / (1 - level), or where no finite one is enough.
    """
    rank = math.ceil((len(residuals) + 1) * level - 1e-9)
    if not 0 < rank <= len(residuals):
        return math.inf
    margin = float(np.sort(residuals)[rank - 1])
    return margin * (1 + _ROUNDING) + _ROUNDING
