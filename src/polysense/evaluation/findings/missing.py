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
_SHOWN, _LISTED = 3, 10


class Missing(Detector):
    """Inputs that most rows lack."""

    kinds: ClassVar = {"mostly_missing": "inputs that most rows lack"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        shares = {column.source: float(column.missing.mean()) for column in checked.columns if len(checked)}
        lacking = sorted((name for name, share in shares.items() if share > _MOSTLY), key=lambda name: -shares[name])
        if lacking:
            listed = ", ".join(f"{name} {shares[name]:.0%}" for name in lacking[:_LISTED])
            more = f" and {len(lacking) - _LISTED:,} more" if len(lacking) > _LISTED else ""
            yield Finding(
                kind="mostly_missing",
                severity=Severity.INFO,
                columns=tuple(lacking),
                message=f"{counted(len(lacking), 'input')} missing in more than half of the rows: {listed}{more}",
                action="look whether they are there under another name or in another folder; else nothing, for missing "
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
