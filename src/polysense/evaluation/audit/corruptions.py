"""Corruptions: the score while one column's cells are damaged, more and more.

What damages a cell is its modality's to say (`ModalitySpec.corruptions`): noise in pictures and sounds, typos in texts,
values that were never seen. Severities run from 1, which a person hardly notices, to 5, which hides most of the cell
(Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from polysense.core.spelling import enumerated
from polysense.core.task_spec import Measure
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.wording import UNTOLD, change, is_told
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import FEWEST_ROWS
from polysense.evaluation.variant_scores import VariantScores

__all__ = ["CLEAN", "NOTHING", "Corruptions", "Damage", "DamageKey", "corruptions"]


class DamageKey(NamedTuple):
    """A corruption of one column at a severity; severity 0 is none."""

    column: str
    corruption: str
    severity: int


CLEAN, NOTHING = DamageKey("", "", 0), DamageKey("", "", -1)
"""The rows as they are, and without any column."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One corruption of one column.

    Attributes:
        column: Which one.
        corruption: Its name.
        severities: That were tried, ascending.
        scores: At each.
        losses: The score less that of the rows as they are, paired; the intervals of all corruptions hold at once.
    """

    column: str
    corruption: str
    severities: tuple[int, ...]
    scores: tuple[Interval, ...]
    losses: tuple[Interval, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Corruptions(AuditPart):
    """The columns damaged, one at a time.

    Attributes:
        measure: Of the score; higher is better.
        num_rows: Rows measured.
        clean: The score of the rows as they are.
        whole: That less the score with no column, paired.
        damages: Per column and corruption.
        refused: Per column that can't be damaged, why.
    """

    name: ClassVar[str] = "corruptions"
    title: ClassVar[str] = "Damaged cells"
    template: ClassVar[str] = "audit_corruptions.html.j2"

    measure: Measure
    num_rows: int
    clean: Interval
    whole: Interval
    damages: tuple[Damage, ...]
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def by_column(self) -> Mapping[str, Sequence[Damage]]:
        """The corruptions of each column."""
        names = dict.fromkeys(each.column for each in self.damages)
        return {name: [each for each in self.damages if each.column == name] for name in names}

    def record(self) -> Mapping[str, object]:
        """See `AuditPart`."""
        return {
            "measure": str(self.measure),
            "num_rows": self.num_rows,
            "clean": self.clean.as_json(),
            "whole": self.whole.as_json(),
            "columns": [
                {
                    "name": name,
                    "corruptions": [
                        {
                            "name": each.corruption,
                            "severities": [
                                {"severity": severity, "score": score.as_json(), "loss": loss.as_json()}
                                for severity, score, loss in zip(each.severities, each.scores, each.losses, strict=True)
                            ],
                        }
                        for each in damages
                    ],
                }
                for name, damages in self.by_column.items()
            ],
            "refused": dict(self.refused),
        }

    def findings(self) -> Sequence[str]:
        """See `AuditPart`."""
        if self.num_rows < FEWEST_ROWS:
            return []
        if not is_told(self.whole):
            return [UNTOLD]
        results, quiet = [], []
        for name, damages in self.by_column.items():
            points = [
                (loss, each.corruption, severity)
                for each in damages
                for severity, loss in zip(each.severities, each.losses, strict=True)
                if loss.has_bounds and loss.high < 0
            ]
            if points:
                loss, corruption, severity = min(points, key=lambda point: point[0].value)
                results.append(f"{name} damaged by {corruption} (severity {severity}): {change(self.measure, loss)}.")
            else:
                quiet.append(name)
        if quiet:
            results.append(f"Damage to {enumerated(quiet)} makes no difference that can be told.")
        return results


def corruptions(
    target: str,
    scores: VariantScores[DamageKey],
    num_rows: int,
    *,
    refused: Mapping[str, str] | None = None,
    confidence: float = 0.95,
) -> Corruptions:
    """The part, from the scores with each corruption.

    Args:
        target: The target's name.
        scores: By corruption; `CLEAN` and `NOTHING` among them.
        num_rows: Rows measured.
        refused: Per column that can't be damaged, why.
        confidence: Of the intervals.
    """
    measure, clean = scores.measures[0], scores.unit(CLEAN)
    keys = [key for key in scores.index if key not in (CLEAN, NOTHING)]
    losses = dict(zip(keys, scores.together([scores.unit(key) - clean for key in keys], confidence), strict=True))
    damages = []
    for column, name in dict.fromkeys((key.column, key.corruption) for key in keys):
        own = sorted(key for key in keys if (key.column, key.corruption) == (column, name))
        damages.append(
            Damage(
                column=column,
                corruption=name,
                severities=tuple(key.severity for key in own),
                scores=tuple(scores.of(scores.unit(key), confidence)[measure] for key in own),
                losses=tuple(losses[key][measure] for key in own),
            )
        )
    return Corruptions(
        target=target,
        measure=measure,
        num_rows=num_rows,
        clean=scores.of(clean, confidence)[measure],
        whole=scores.of(clean - scores.unit(NOTHING), confidence)[measure],
        damages=tuple(damages),
        refused=refused or {},
    )
