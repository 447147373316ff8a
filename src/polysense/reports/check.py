"""Show what a check of a table found out, without training: columns, classes, splits, unreadable cells, problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len

from polysense.core.finding import Finding, Severity
from polysense.core.sample import Unreadable
from polysense.core.wrapping import shortened, wrapped
from polysense.escaping import joined, preformatted, visible
from polysense.evaluation.findings.column_roles import ColumnRoles
from polysense.evaluation.findings.detectors import DETECTORS
from polysense.evaluation.findings.missing import UnreadableCells

__all__ = ["FORMAT", "KINDS", "Check", "check_schema"]

_NAME_WIDTH = 30
_MOST_KINDS = 5  # of a property of cells, in its line
_MOST = 20  # findings and names that are listed for people
_TITLES = {Severity.ERROR: "Problem", Severity.WARNING: "Warning", Severity.INFO: "Note"}
_IN_LISTS = (frozenset(ColumnRoles.kinds) - {ColumnRoles.READING}) | set(UnreadableCells.kinds)
"""Kinds that the list of columns or that of unreadable cells shows already."""


FORMAT = 1
"""Raised with every change of what `check --json` prints that a reader has to know of."""

KINDS: Mapping[str, str] = {
    "problem": "what stands in the way of training",
    **{kind: words for detector in DETECTORS for kind, words in detector.kinds.items()},
}
"""Every kind of finding, and what it means."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Check:
    """The result of a check.

    Attributes:
        table: Its name.
        num_rows: Its rows.
        columns: Per column: name, role, type, missing (share), reason, properties (such as languages, with counts).
        classes: Per classification target its classes' counts.
        splits: Rows in each split.
        unreadable: Cells that can't be read, of the rows tried.
        num_tried: Rows whose cells were tried.
        problems: What would stop training.
        warnings: What training would run with, but should be known.
        cautions: Those of them that the columns' reasons give, by column.
        findings: What is wrong or worth knowing, the worst first; problems and warnings are among them.
    """

    table: str
    num_rows: int
    columns: list[dict[str, Any]]
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
    num_tried: int = 0
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cautions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether training could run."""
        return not self.problems

    def reaches(self, severity: Severity | str) -> bool:
        """Whether a finding is as bad as that, or worse."""
        return any(finding.severity.rank <= Severity(severity).rank for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return {
            "format": FORMAT,
            "ok": self.ok,
            "table": self.table,
            "num_rows": self.num_rows,
            "columns": self.columns,
            "classes": {name: dict(counts) for name, counts in self.classes.items()},
            "splits": dict(self.splits),
            "unreadable": [cell.as_dict() for cell in self.unreadable],
            "num_tried": self.num_tried,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "findings": [finding.as_json() for finding in self.findings],
        }

    def __repr__(self) -> str:
        verdict = "it can be trained on" if self.ok else f"{len(self.problems)} problems"
        return visible(f"Check({self.table!r}: {self.num_rows:,} rows, {len(self.columns)} columns; {verdict})")

    def _repr_html_(self) -> str:
        return preformatted(self.text())

    def text(self) -> str:
        """For people, in lines of 80 characters."""
        lines = [*wrapped(f"{self.table}: {self.num_rows:,} rows, {len(self.columns)} columns"), ""]
        names = [shortened(column["name"], _NAME_WIDTH) for column in self.columns]
        width = max(map(cell_len, names), default=0)
        for column, name in zip(self.columns, names, strict=True):
            missing = f"{100 * column['missing']:.0f}% missing" if column["missing"] else ""
            kind = column["type"] or ""
            head = f"  {name}{' ' * (width - cell_len(name))}  {column['role']:<8} {kind:<14} {missing}"
            lines.append(head.rstrip())
            reason = column["reason"].removeprefix(f"{column['type'] or column['role']}: ")  # which stands above
            lines += wrapped(reason, indent="      ") if reason else []
            for words, told in column["properties"].items():
                lines += wrapped(f"{words}: {_shares(told)}", indent="      ")
        for target, counts in self.classes.items():
            total = sum(counts.values())
            lines += ["", *wrapped(f"Classes of {target}:")]
            listed = sorted(counts.items(), key=lambda pair: -pair[1])
            for name, count in listed[:20]:
                bar = "█" * round(25 * count / total)
                short = shortened(name, _NAME_WIDTH)
                pad = " " * (_NAME_WIDTH - cell_len(short))
                lines.append(f"  {short}{pad} {count:>8,}  {100 * count / total:5.1f}%  {bar}")
            if len(listed) > 20:
                lines.append(f"  ... and {len(listed) - 20} more, down to {listed[-1][1]:,} rows")
        if self.splits:
            lines += ["", *wrapped("Split: " + ", ".join(f"{count:,} {name}" for name, count in self.splits.items()))]
        if self.num_tried:
            lines += ["", f"Unreadable cells in the {self.num_tried:,} rows tried: {len(self.unreadable)}"]
            lines += [line for cell in self.unreadable[:20] for line in wrapped(str(cell), indent="  ", hanging="    ")]
        lines += self._cautions()
        others = [finding for finding in self.findings if finding.kind not in _IN_LISTS]
        for finding in others[:_MOST]:
            action = f"; {finding.action}" if finding.action else ""
            lines += [
                "",
                *wrapped(f"{_TITLES[finding.severity]} ({finding.kind}): {finding.message}{action}", hanging="  "),
            ]
        if len(others) > _MOST:
            lines += ["", f"... and {len(others) - _MOST:,} more; --json lists all"]
        if self.ok and self.num_tried:
            lines += ["", "Ready to train."]
        return joined(lines)

    def _cautions(self) -> list[str]:
        """Which columns have warnings; these stand in their reasons, so they are not said again."""
        names = [name for name, texts in self.cautions.items() if texts]
        if not names:
            return []
        have = "1 column has a warning" if len(names) == 1 else f"{len(names):,} columns have warnings"
        more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
        return [
            "",
            *wrapped(f"Warning: {have}, which the list above gives: {', '.join(names[:_MOST])}{more}", hanging="  "),
        ]


def _shares(counts: Mapping[str, int]) -> str:
    """The most frequent kinds, with their shares of the cells of which it is told."""
    total = sum(counts.values())
    shown = [f"{name} {100 * count / total:.3g}%" for name, count in list(counts.items())[:_MOST_KINDS]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") + f" of {total:,} cells"


def check_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what `polysense check --json` prints."""
    text: Mapping[str, object] = {"type": "string"}
    texts: Mapping[str, object] = {"type": "array", "items": text}
    count: Mapping[str, object] = {"type": "integer", "minimum": 0}
    counts: Mapping[str, object] = {"type": "object", "additionalProperties": count}

    def described(description: str, rest: Mapping[str, object]) -> dict[str, object]:
        return {"description": description, **rest}

    def record(properties: Mapping[str, object]) -> dict[str, object]:
        return {"type": "object", "properties": dict(properties), "required": list(properties)}

    kinds = "; ".join(f"{kind}: {words}" for kind, words in KINDS.items())
    severities = "; ".join(f"{severity}: {severity.meaning}" for severity in Severity)
    finding = record(
        {
            "kind": described(kinds, {"enum": list(KINDS)}),
            "severity": described(severities, {"enum": list(map(str, Severity))}),
            "columns": described("The table's columns that it is about.", texts),
            "rows": described(
                "The rows that it is about, from 0; none where it is about all rows.", {"type": "array", "items": count}
            ),
            "table": described(
                "The rows' table, where that is a validation or test table of its own.", {"type": ["string", "null"]}
            ),
            "message": described("What was noticed.", text),
            "action": described("What to do; may be empty.", text),
        }
    )
    column = record(
        {
            "name": text,
            "role": text,
            "type": {"type": ["string", "null"]},
            "missing": described("The share of the cells.", {"type": "number"}),
            "reason": text,
            "properties": described(
                "What was told of cells that were tried, such as their language, and of how many.",
                {"type": "object", "additionalProperties": counts},
            ),
        }
    )
    cell = record({"table": text, "row": count, "column": text, "file": {"type": ["string", "null"]}, "reason": text})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "polysense check --json",
        **record(
            {
                "format": described("Raised with every change that a reader has to know of.", {"const": FORMAT}),
                "ok": described("Whether training could run.", {"type": "boolean"}),
                "table": text,
                "num_rows": count,
                "columns": {"type": "array", "items": column},
                "classes": described(
                    "Per target with classes the rows of each.", {"type": "object", "additionalProperties": counts}
                ),
                "splits": described("Rows of each part.", counts),
                "unreadable": {"type": "array", "items": cell},
                "num_tried": described("Rows whose cells were decoded.", count),
                "problems": described("What would stop training.", texts),
                "warnings": described("What training would run with.", texts),
                "findings": described(
                    "What is wrong or worth knowing, the worst first.", {"type": "array", "items": finding}
                ),
            }
        ),
    }
