"""The largest residuals of a regression: what was predicted too high, and what too low."""

from __future__ import annotations

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.regression.record import RegressionTarget

__all__ = ["mistakes"]

_MAX_COLUMNS = 4
_MAX_ROWS = 6


def mistakes(target: RegressionTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """Of each column both; see `TaskSpec.mistakes`."""
    statistics = evaluation.statistics[target.name]
    if not evaluation.num_counted(target.name):
        return []
    groups = []
    for index, column in enumerate(target.columns[:_MAX_COLUMNS]):
        truth = np.where(statistics["present"], statistics["truth"][:, index], np.nan).astype(np.float64)
        residual = statistics["predicted"][:, index].astype(np.float64) - truth
        unit = f" {target.units[index]}" if target.units and target.units[index] else ""
        of = f"{column}: " if len(target.columns) > 1 else ""
        for sign, words in ((1.0, "too high"), (-1.0, "too low")):
            rows = np.flatnonzero(np.isfinite(residual) & (sign * residual > 0))
            worst = rows[np.argsort(-sign * residual[rows], kind="stable")[:_MAX_ROWS]]
            listed = [Mistake(position=int(i), words=f"{words} by {abs(residual[i]):.4g}{unit}") for i in worst]
            if listed:
                groups.append(MistakeGroup(title=f"{of}predicted {words}", total=len(rows), mistakes=listed))
    return groups
