"""Rare classes: those with so few rows that none can be learned, or none can be judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int

from polysense.core.finding import Finding, Severity
from polysense.data.roles.profile import quote
from polysense.evaluation.findings.checked import CheckedTable, CheckedTarget
from polysense.evaluation.findings.detector import Detector, counted, listed

__all__ = ["FEWEST_ROWS", "RareClasses"]

FEWEST_ROWS = 5
_MOST = 5


class RareClasses(Detector):
    """Classes with fewer than five rows."""

    kinds: ClassVar = {
        "rare_class": "classes with fewer than 5 rows",
        "class_not_trained": "classes of validation or test that no training row has",
    }

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        for target in checked.targets:
            if not target.classes:
                continue
            counts = np.bincount(target.labels[target.labels >= 0], minlength=len(target.classes))
            rare = np.flatnonzero((counts > 0) & (counts < FEWEST_ROWS))
            if len(rare):
                yield _finding(
                    checked, target, "rare_class", np.isin(target.labels, rare),
                    f"{len(rare)} of {int((counts > 0).sum())} classes have fewer than {FEWEST_ROWS} rows "
                    f"({_names(target, rare)})",
                    "merge them with others, leave them out, or collect more rows",
                )  # fmt: skip
            if "train" not in checked.parts or len(checked.parts) == 1:
                continue
            trained = checked.in_part("train")
            seen = np.bincount(target.labels[trained & (target.labels >= 0)], minlength=len(target.classes))
            unseen = np.flatnonzero((counts > 0) & (seen == 0))
            outside = np.isin(target.labels, unseen) & ~trained & (checked.part_of >= 0)
            if outside.any():
                yield _finding(
                    checked, target, "class_not_trained", outside,
                    f"{counted(int(outside.sum()), 'row')} outside of training are of classes that no training row has "
                    f"({_names(target, unseen)})",
                    "move some of their rows to training, or leave them out of the score",
                )  # fmt: skip


def _finding(
    checked: CheckedTable, target: CheckedTarget, kind: str, rows_of: Bool[np.ndarray, " rows"], what: str, action: str
) -> Finding:
    rows, table = checked.rows(np.flatnonzero(rows_of))
    return Finding(
        kind=kind,
        severity=Severity.WARNING,
        columns=target.columns,
        rows=rows,
        table=table,
        message=f"{target.name}: {what}",
        action=action,
    )


def _names(target: CheckedTarget, classes: Int[np.ndarray, " classes"]) -> str:
    return listed([quote(target.classes[i]) for i in classes.tolist()], _MOST)
