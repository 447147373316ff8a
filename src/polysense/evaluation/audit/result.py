"""AuditResult: all that an audit found, for audit.json, the terminal and the report; and the JSON schema of that file.

Per target stand the columns, each with its verdict and the three numbers that it is read from, the findings in words,
and every part's own record. Where something was not measured its numbers are null, and `left_out` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polysense.core.json import to_json
from polysense.core.wrapping import wrapped
from polysense.escaping import preformatted, visible
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import Contributions, TargetContributions, Verdict

__all__ = ["FORMAT", "NOT_MEASURED", "AuditResult", "audit_schema"]

FORMAT = 2
"""Raised with every change of what audit.json holds that a reader has to know of."""

NOT_MEASURED = "not measured"
"""In place of a verdict on a column of many, which was measured together with others alone."""

_UNKNOWN = Interval(float("nan"))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class AuditResult:
    """What was found.

    Attributes:
        level: "quick" or "full".
        split: The rows' name in words.
        num_rows: Of these rows.
        confidence: Of the intervals.
        targets: The targets' names.
        contributions: What each column contributes; None where that was not measured.
        parts: In the order in which they are shown.
        seconds: That it took; not in audit.json, which is the same for the same run.
        left_out: What there was no time for, or could not be asked, in words.
    """

    level: str
    split: str
    num_rows: int
    confidence: float
    targets: tuple[str, ...]
    contributions: Contributions | None
    parts: tuple[AuditPart, ...]
    seconds: float
    left_out: tuple[str, ...] = ()

    def of(self, target: str) -> list[AuditPart]:
        """One target's parts."""
        return [part for part in self.parts if part.target == target]

    def findings(self, target: str) -> list[str]:
        """What may be said of one target, in sentences."""
        known = self._contribution(target)
        first = [] if known is None else [known.sentence()]
        # What several parts say is said once.
        return list(dict.fromkeys([*first, *(sentence for part in self.of(target) for sentence in part.findings())]))

    def __repr__(self) -> str:
        said = ", ".join(f"{target} {_numbered(self.findings(target), 'finding')}" for target in self.targets)
        left_out = f"; {len(self.left_out)} left out" if self.left_out else ""
        return visible(f"AuditResult({self.level}, {self.num_rows:,} {self.split} rows: {said or 'nothing'}{left_out})")

    def _repr_html_(self) -> str:
        return preformatted(self.text())

    def text(self) -> str:
        """For the terminal."""
        lines = []
        for target in self.targets:
            lines += wrapped(target)
            lines += [line for one in self.findings(target) for line in wrapped(one, indent="  ", hanging="    ")]
        if self.left_out:
            lines += ["left out"]
            lines += [line for what in self.left_out for line in wrapped(what, indent="  ", hanging="    ")]
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """For audit.json; see `audit_schema`."""
        return {
            "format": FORMAT,
            "level": self.level,
            "split": self.split,
            "num_rows": self.num_rows,
            "confidence": self.confidence,
            "left_out": list(self.left_out),
            "targets": {
                target: {
                    "columns": self._columns(target),
                    "groups": self._groups(target),
                    "findings": self.findings(target),
                    "parts": {part.name: to_json(part.record(), part.name) for part in self.of(target)},
                }
                for target in self.targets
            },
        }

    def _contribution(self, target: str) -> TargetContributions | None:
        known = () if self.contributions is None else self.contributions.targets
        return next((each for each in known if each.target == target), None)

    def _columns(self, target: str) -> list[dict[str, object]]:
        known = self._contribution(target)
        if known is None:
            return []
        measure = known.measures[0]
        alone: list[dict[str, object]] = [
            {
                "name": column.name,
                "modality": column.modality,
                "verdict": column.verdict,
                "measure": str(measure),
                "drop": column.drop[measure].as_json(),
                "unimodal": (column.trained_alone or _UNKNOWN).as_json(),
                "shapley": column.shapley[measure].as_json(),
                "note": column.note,
            }
            for column in known.ranked
            if not column.is_group
        ]
        unknown = {"measure": str(measure), **dict.fromkeys(("drop", "unimodal", "shapley"), _UNKNOWN.as_json())}
        return alone + [
            {
                "name": name,
                "modality": kind,
                "verdict": NOT_MEASURED,
                **unknown,
                "note": f"measured only as one of {group.name}",
            }
            for group in known.ranked
            for name, kind in group.members.items()
        ]

    def _groups(self, target: str) -> list[dict[str, object]]:
        """Columns that were measured together, and what they are worth together."""
        known = self._contribution(target)
        if known is None:
            return []
        measure = known.measures[0]
        return [
            {
                "name": group.name,
                "columns": list(group.members),
                "verdict": group.verdict,
                "measure": str(measure),
                "drop": group.drop[measure].as_json(),
                "shapley": group.shapley[measure].as_json(),
                "note": group.note,
            }
            for group in known.ranked
            if group.is_group
        ]


def _numbered(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def audit_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of audit.json."""

    def described(description: str, **rest: object) -> dict[str, object]:
        return {"description": description, **rest}

    def record(required: Mapping[str, object], description: str = "") -> dict[str, object]:
        return {
            "type": "object",
            **({"description": description} if description else {}),
            "properties": dict(required),
            "required": list(required),
        }

    text: Mapping[str, object] = {"type": "string"}
    texts: Mapping[str, object] = {"type": "array", "items": text}
    interval = {"$ref": "#/$defs/interval"}
    number_or_none = {"type": ["number", "null"]}
    column = record(
        {
            "name": described("The input column.", type="string"),
            "modality": text,
            "verdict": described(
                f"Read from the drop; {NOT_MEASURED!r} of a column that was only measured together with others.",
                enum=[*(each.value for each in Verdict), NOT_MEASURED],
            ),
            "measure": described("What drop, unimodal and shapley are measured in.", type="string"),
            "drop": described("What is lost when the column is removed from the trained model.", **interval),
            "unimodal": described("The score of the best model that was trained on the column alone.", **interval),
            "shapley": described("Its share of what all columns give together.", **interval),
            "note": described("What the verdict leaves out; may be empty.", type="string"),
        }
    )
    group = record(
        {
            "name": described("In other places of this file.", type="string"),
            "columns": described("The input columns that were measured together.", **texts),
            "verdict": described("Read from the drop.", enum=[each.value for each in Verdict]),
            "measure": described("What drop and shapley are measured in.", type="string"),
            "drop": described("What is lost when all of them are removed from the trained model.", **interval),
            "shapley": described("Their share of what all columns give together.", **interval),
            "note": described("What the verdict leaves out; may be empty.", type="string"),
        }
    )
    target = record(
        {
            "columns": {"type": "array", "items": column},
            "groups": described("Columns that there was no time to measure one by one.", type="array", items=group),
            "findings": described("What may be said, in sentences.", **texts),
            "parts": described("Every part's own numbers, by its name.", type="object"),
        }
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "polysense audit.json",
        **record(
            {
                "format": described("Raised with every change that a reader has to know of.", const=FORMAT),
                "level": {"enum": ["quick", "full"]},
                "split": described("The rows that were audited.", type="string"),
                "num_rows": {"type": "integer", "minimum": 0},
                "confidence": described("Of every interval.", type="number"),
                "left_out": described("What was not measured, and why.", **texts),
                "targets": {"type": "object", "additionalProperties": target},
            }
        ),
        "$defs": {
            "interval": record(
                {"value": number_or_none, "low": number_or_none, "high": number_or_none},
                "A value and its interval; null where there is none.",
            )
        },
    }
