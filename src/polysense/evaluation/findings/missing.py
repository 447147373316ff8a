"""Missing and unreadable cells: columns that few rows have, and cells that are there and can't be read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import ClassVar

from polysense.core.finding import Finding, Severity
from polysense.core.sample import Unreadable
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.detector import Detector, counted

__all__ = ["Missing", "UnreadableCells"]

_MOSTLY = 0.5
_SHOWN = 3


class Missing(Detector):
    """Inputs that most rows lack."""

    kinds: ClassVar = {"mostly_missing": "an input that most rows lack"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        for column in checked.columns:
            share = float(column.missing.mean()) if len(checked) else 0.0
            if share > _MOSTLY:
                yield Finding(
                    kind="mostly_missing",
                    severity=Severity.INFO,
                    columns=(column.source,),
                    message=f"{column.name}: {share:.0%} of the cells are missing",
                    action="look whether they are there under another name or in another folder; else nothing: missing "
                    "cells are masked",
                )


class UnreadableCells(Detector):
    """Cells that are there and can't be read."""

    kinds: ClassVar = {"unreadable": "cells that can't be read, with the reasons; they count as missing"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        by_column: dict[tuple[str, str], list[Unreadable]] = defaultdict(list)
        for cell in checked.unreadable:
            by_column[cell.source.column, cell.source.table].append(cell)
        for (column, table), cells in by_column.items():
            reasons = Counter(cell.reason for cell in cells)
            listed = "; ".join(f"{reason} ({num:,})" for reason, num in reasons.most_common(_SHOWN))
            more = f"; {len(reasons) - _SHOWN:,} other reasons" if len(reasons) > _SHOWN else ""
            yield Finding(
                kind="unreadable",
                severity=Severity.WARNING,
                columns=(column,),
                rows=tuple(cell.source.row for cell in cells),
                table=None if table == checked.name else table,
                message=f"{column}: {counted(len(cells), 'cell')} of {checked.num_tried:,} rows tried can't be read: "
                f"{listed}{more}",
                action="mend or replace them; until then they count as missing",
            )
