"""Shared groups: persons, sessions and other things whose rows are in training and in another part of the split."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from polysense.core.finding import Finding, Severity
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.detector import Detector

__all__ = ["SharedGroups"]

_TRAIN = "train"


class SharedGroups(Detector):
    """Values of a column that names groups, in several parts."""

    kinds: ClassVar = {"shared_groups": "persons, sessions or the like with rows in training and in another part"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        for column, groups in checked.groups.items():
            trained = np.unique(groups[checked.in_part(_TRAIN) & (groups >= 0)])
            if not len(trained):
                continue
            shares, rows = [], []
            for part in checked.parts:
                own = groups[checked.in_part(part) & (groups >= 0)]
                shared = np.intersect1d(own, trained)
                if part != _TRAIN and len(shared):
                    shares.append(f"{len(shared):,} of {len(np.unique(own)):,} {part}")
                    rows.append(np.flatnonzero(checked.in_part(part) & np.isin(groups, shared)))
            if not rows:
                continue
            numbers, table = checked.rows(np.concatenate(rows))
            yield Finding(
                kind="shared_groups",
                severity=Severity.WARNING,
                columns=(column,),
                rows=numbers,
                table=table,
                message=f"{column}: rows of {', '.join(shares)} groups are in training too, so the score says little "
                f"of a new one",
                action=f"keep each one's rows in one part: data.split.type=group data.split.column={column}",
            )
