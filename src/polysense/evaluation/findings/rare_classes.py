"""Rare classes: those with so few rows that none can be learned, or none can be judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from polysense.core.finding import Finding, Severity
from polysense.data.roles.profile import quote
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.detector import Detector, counted

__all__ = ["FEWEST_ROWS", "RareClasses"]

FEWEST_ROWS = 5
_SHOWN = 5


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
                positions = np.flatnonzero(np.isin(target.labels, rare))
                rows, table = checked.rows(positions)
                listed = ", ".join(quote(target.classes[i]) for i in rare[:_SHOWN])
                yield Finding(
                    kind="rare_class",
                    severity=Severity.WARNING,
                    columns=target.columns,
                    rows=rows,
                    table=table,
                    message=f"{target.name}: {len(rare)} of {int((counts > 0).sum())} classes have fewer than "
                    f"{FEWEST_ROWS} rows ({listed}{' ...' if len(rare) > _SHOWN else ''})",
                    action="merge them with others, leave them out, or collect more rows",
                )
            if "train" not in checked.parts or len(checked.parts) == 1:
                continue
            trained = checked.in_part("train")
            seen = np.bincount(target.labels[trained & (target.labels >= 0)], minlength=len(target.classes))
            unseen = np.flatnonzero((counts > 0) & (seen == 0))
            if len(unseen):
                positions = np.flatnonzero(np.isin(target.labels, unseen) & ~trained & (checked.part_of >= 0))
                if not len(positions):
                    continue
                rows, table = checked.rows(positions)
                listed = ", ".join(quote(target.classes[i]) for i in unseen[:_SHOWN])
                yield Finding(
                    kind="class_not_trained",
                    severity=Severity.WARNING,
                    columns=target.columns,
                    rows=rows,
                    table=table,
                    message=f"{target.name}: {counted(len(positions), 'row')} outside of training are of classes that "
                    f"no training row has ({listed}{' ...' if len(unseen) > _SHOWN else ''})",
                    action="move some of their rows to training, or leave them out of the score",
                )
