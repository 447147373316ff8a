"""Cells of another kind than most of their column, such as texts in another language."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from polysense.core.finding import Finding, Severity
from polysense.core.unsupported import Unsupported
from polysense.evaluation.findings.checked import CheckedColumn, CheckedTable
from polysense.evaluation.findings.detector import Detector, listed

__all__ = ["FewOfAKind"]

_MAJORITY = 0.8
_FEWEST, _LEAST_SHARE = 5, 0.005
"""Cells of one other kind: fewer are what telling kinds apart takes for one by mistake."""
_MOST = 5


class FewOfAKind(Detector):
    """Kinds that a modality tells its cells by, where most are of one and a few of another."""

    kinds: ClassVar = {"few_of_a_kind": "a few cells of another kind than most, such as texts in another language"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        for column in checked.columns:
            categories = column.spec.categories
            if isinstance(categories, Unsupported):
                continue
            for category in categories:
                if category.advice and category.name in column.properties:
                    yield from _findings(checked, column, category.name, category.advice)


def _findings(checked: CheckedTable, column: CheckedColumn, name: str, advice: str) -> Iterable[Finding]:
    codes, names = column.properties[name]
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    total, most = int(counts.sum()), int(counts.argmax())
    usual = (counts >= _FEWEST) & (counts >= _LEAST_SHARE * total)
    usual[most] = False
    if not usual.any() or counts[most] < _MAJORITY * total:
        return
    order = [place for place in np.argsort(-counts, kind="stable").tolist() if usual[place]]
    others = listed([f"{names[place]} in {counts[place]:,}" for place in order], _MOST)
    rows, table = checked.rows(np.flatnonzero(np.isin(codes, order)))
    yield Finding(
        kind="few_of_a_kind",
        severity=Severity.INFO,
        columns=(column.source,),
        rows=rows,
        table=table,
        message=f"{column.name}: {name} is {names[most]} in {counts[most]:,} of {total:,} cells, {others}",
        action=advice,
    )
