"""Sets of labels that hold every label of a row with a stated probability, by split conformal prediction.

A label is in the set where its probability reaches a threshold, such that in as many calibration rows as the level asks
for the least probable label that is true reaches it (outer sets; Cauchois, Gupta and Duchi, "Knowing What You Know:
Valid and Validated Confidence Sets in Multiclass and Multilabel Prediction", JMLR 2021). A row without labels is held
by any set, the empty one too.
"""

from __future__ import annotations

import math

import numpy as np

from polysense.core.audit_answers import ConformalSets
from polysense.core.metric import Statistics

__all__ = ["outer_sets"]

_METHOD = (
    "labels from a probability on that all labels of so many rows reach (outer sets; Cauchois, Gupta and Duchi, 2021)"
)


def outer_sets(calibration: Statistics, judged: Statistics, level: float) -> ConformalSets:
    """The sets of the judged rows.

    Args:
        calibration: Row statistics of rows that are not judged.
        judged: Row statistics.
        level: The probability of holding every true label, in (0, 1).

    Returns:
        Sets of all labels where there are too few calibration rows, fewer than level / (1 - level).
    """
    known = np.flatnonzero(calibration["present"])
    own = _least({name: calibration[name][known] for name in ("truth", "probabilities")})
    rank = math.ceil((len(own) + 1) * level - 1e-9)
    threshold = float(np.sort(own)[len(own) - rank]) if rank <= len(own) else -math.inf
    present = judged["present"]
    inside = judged["probabilities"].astype(np.float64) >= threshold
    return ConformalSets(
        level=level,
        method=_METHOD,
        covered=np.where(present, (_least(judged) >= threshold).astype(np.float64), np.nan),
        sizes=np.where(present, inside.sum(axis=1), np.nan),
        noun="sets",
        size="labels in a set",
    )


def _least(statistics: Statistics) -> np.ndarray:
    """The probability of each row's least probable label; infinite where it has none."""
    probabilities = statistics["probabilities"].astype(np.float64)
    result: np.ndarray = np.where(statistics["truth"].astype(bool), probabilities, math.inf).min(
        axis=1, initial=math.inf
    )
    return result
