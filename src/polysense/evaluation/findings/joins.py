"""Joined tables: rows without a partner, keys that are spelled in two ways, and rows that nothing reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from polysense.core.finding import Finding, Severity
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.detector import Detector

__all__ = ["Joins"]


class Joins(Detector):
    """What a join found no partner for."""

    kinds: ClassVar = {
        "unmatched_keys": "rows whose key is in no row of a joined table, or that have none",
        "duplicate_keys": "keys of several equal rows of a joined table, where one is expected",
        "key_spelling": "keys of two tables that are spelled or typed otherwise",
        "orphan_rows": "rows of a joined table whose key no row has",
    }

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        for join in checked.joins:
            columns = tuple(join.on)
            if join.of_unmatched:
                yield Finding(
                    kind="unmatched_keys",
                    severity=Severity.WARNING,
                    columns=columns,
                    rows=tuple(join.unmatched_rows),
                    message=join.of_unmatched,
                    action=f"look whether {join.table} is complete, and whether its keys are spelled alike",
                )
            if join.of_missing_keys:
                yield Finding(
                    kind="unmatched_keys", severity=Severity.INFO, columns=columns, message=join.of_missing_keys
                )
            if join.of_duplicates:
                yield Finding(
                    kind="duplicate_keys",
                    severity=Severity.WARNING,
                    columns=columns,
                    rows=tuple(each.row for each in join.duplicates),
                    table=join.table,
                    message=join.of_duplicates,
                    action="remove the copies, or look whether a column is missing that tells them apart",
                )
            for note in join.notes:
                yield Finding(
                    kind="key_spelling",
                    severity=Severity.WARNING,
                    columns=columns,
                    message=note,
                    action="spell keys and times alike in both tables",
                )
            if join.of_orphans:
                yield Finding(
                    kind="orphan_rows",
                    severity=Severity.INFO,
                    columns=tuple(join.on.values()),
                    rows=tuple(each.row for each in join.orphans),
                    table=join.table,
                    message=join.of_orphans,
                )
