"""Folds of audited rows: what is chosen for some rows is chosen on others, where no rows are set apart for it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from polysense.core.random import permutation
from polysense.evaluation.audit.part import AuditInput

__all__ = ["NUM_FOLDS", "folds_of"]

NUM_FOLDS = 10


def folds_of(asked: AuditInput) -> Int[np.ndarray, " rows"] | None:
    """A part for each evaluated row, -1 where it lacks the target, groups of rows kept whole.

    Returns:
        None where there are fewer rows, or groups, than parts.
    """
    counted = asked.counted
    units = counted if asked.clusters is None else asked.clusters[counted]
    names, members = np.unique(units, return_inverse=True)
    if len(names) < NUM_FOLDS:
        return None
    of_unit = permutation(len(names), asked.seed, "audit folds") % NUM_FOLDS
    folds = np.full(len(asked.rows), -1)
    folds[counted] = of_unit[members]
    return folds
