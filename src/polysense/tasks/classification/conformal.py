"""Sets of classes that hold the true one with a stated probability, by split conformal prediction.

Least ambiguous sets (LAC): a class is in the set where its probability reaches a threshold, such that as many true
classes of the calibration rows reach theirs as the level asks for. They are the smallest on average of all sets with
that coverage (Sadinle, Lei, Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", JASA 2019,
theorem 1). Where the model is right more often than that some would be empty; here the most probable class is always in
the set, so that they then hold the truth as often as the model is right.
"""

from __future__ import annotations

import math

import numpy as np

from polysense.core.audit_answers import ConformalSets
from polysense.core.metric import Statistics

__all__ = ["least_ambiguous_sets"]

_METHOD = "least ambiguous sets (LAC; Sadinle, Lei and Wasserman, 2019), the most probable class always among them"


def least_ambiguous_sets(calibration: Statistics, judged: Statistics, level: float) -> ConformalSets:
    """The sets of the judged rows.

    Args:
        calibration: Row statistics of rows that are not judged.
        judged: Row statistics.
        level: The probability of holding the true class, in (0, 1).

    Returns:
        Sets of all classes where there are too few calibration rows, fewer than level / (1 - level).
    """
    known = np.flatnonzero(calibration["present"])
    own = calibration["probabilities"][known, calibration["truth"][known]].astype(np.float64)
    rank = math.ceil((len(own) + 1) * level - 1e-9)
    # The rank-th smallest of 1 - probability is the rank-th largest probability.
    threshold = float(np.sort(own)[len(own) - rank]) if rank <= len(own) else -math.inf
    inside = judged["probabilities"].astype(np.float64) >= threshold
    rows = np.arange(len(inside))
    inside[rows, judged["probabilities"].argmax(axis=1)] = True
    covered = inside[rows, judged["truth"].astype(np.int64)].astype(np.float64)
    present = judged["present"]
    return ConformalSets(
        level=level,
        method=_METHOD,
        covered=np.where(present, covered, np.nan),
        sizes=np.where(present, inside.sum(axis=1), np.nan),
        noun="sets",
        size="classes in a set",
    )
