"""Finding: one thing that a check noticed about a table, where it is, how bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from polysense.core.json import JsonValue

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """How much a finding matters, the worst first."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)

    @property
    def meaning(self) -> str:
        """In words, for the schema and pages."""
        return {
            Severity.ERROR: "training can't run, or a score would mean nothing",
            Severity.WARNING: "a score or a model would suffer",
            Severity.INFO: "worth knowing",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One of them.

    Attributes:
        kind: Of the detector's kinds, such as "near_duplicates".
        severity: How much it matters.
        columns: The table's columns that it is about; none where it is about the table.
        rows: Numbers of the rows that it is about, from 0 as in a data frame, the worst first; none where it is about
            all rows or about a column.
        table: The rows' table by name, where that is not the checked one but a validation or test table of its own.
        message: What was noticed, a sentence without its end.
        action: What to do, likewise; "" where there is nothing to do.
    """

    kind: str
    severity: Severity
    columns: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    table: str | None = None
    message: str
    action: str = ""

    def as_json(self) -> Mapping[str, JsonValue]:
        """For a script; see `reports.check.check_schema`."""
        return {
            "kind": self.kind,
            "severity": str(self.severity),
            "columns": list(self.columns),
            "rows": list(self.rows),
            "table": self.table,
            "message": self.message,
            "action": self.action,
        }
