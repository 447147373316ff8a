"""Mismatches: what is lost where one column comes from another row, and contradicts the rest.

A missing column says nothing; a wrong one lies. The loss is how far the model believes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from polysense.core.spelling import enumerated
from polysense.core.task_spec import Measure
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.wording import UNTOLD, change, is_told
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import FEWEST_ROWS
from polysense.evaluation.variant_scores import VariantScores

__all__ = ["AS_IT_IS", "WITHOUT", "Mismatch", "Mismatches", "mismatches"]

AS_IT_IS, WITHOUT = 0, 1
"""Variants beside the columns, which have names: the rows as they are, and without any column."""


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One column taken from other rows.

    Attributes:
        column: Which one.
        num_exchanged: Rows measured whose cell was exchanged; the others lack it, or have no partner.
        score: Over all rows measured.
        loss: The score less that of the rows as they are, paired; the intervals of all columns hold at once.
    """

    column: str
    num_exchanged: int
    score: Interval
    loss: Interval


@dataclass(frozen=True, eq=False, kw_only=True)
class Mismatches(AuditPart):
    """Every column taken from other rows, one at a time.

    Attributes:
        measure: Of the score; higher is better.
        num_rows: Rows measured.
        matched: The score of the rows as they are.
        whole: That less the score with no column, paired.
        columns: What is lost by each column.
    """

    name: ClassVar[str] = "mismatch"
    title: ClassVar[str] = "Columns that do not match"
    template: ClassVar[str] = "audit_mismatches.html.j2"

    measure: Measure
    num_rows: int
    matched: Interval
    whole: Interval
    columns: tuple[Mismatch, ...]

    @property
    def ranked(self) -> Sequence[Mismatch]:
        """The largest loss first."""
        return sorted(self.columns, key=lambda each: each.loss.value)

    def record(self) -> Mapping[str, object]:
        """See `AuditPart`."""
        return {
            "measure": str(self.measure),
            "num_rows": self.num_rows,
            "matched": self.matched.as_json(),
            "whole": self.whole.as_json(),
            "columns": [
                {
                    "name": each.column,
                    "num_exchanged": each.num_exchanged,
                    "score": each.score.as_json(),
                    "loss": each.loss.as_json(),
                }
                for each in self.columns
            ],
        }

    def findings(self) -> Sequence[str]:
        """See `AuditPart`."""
        if self.num_rows < FEWEST_ROWS:
            return []
        if not is_told(self.whole):
            return [UNTOLD]
        known = [each for each in self.ranked if each.loss.has_bounds and (each.loss.high < 0 or each.loss.low > 0)]
        results = [f"With another row's {each.column}: {change(self.measure, each.loss)}." for each in known]
        if quiet := [each.column for each in self.columns if each not in known]:
            verb = "comes" if len(quiet) == 1 else "come"
            results.append(
                f"Whether {enumerated(quiet)} {verb} from the same row makes no difference that can be told."
            )
        return results


def mismatches(
    target: str,
    scores: VariantScores[str | int],
    num_rows: int,
    exchanged: Mapping[str, int],
    *,
    confidence: float = 0.95,
) -> Mismatches:
    """The part, from the scores with each column exchanged.

    Args:
        target: The target's name.
        scores: By column, `AS_IT_IS` and `WITHOUT`.
        num_rows: Rows measured.
        exchanged: Per column the rows whose cell was exchanged.
        confidence: Of the intervals.
    """
    measure, matched = scores.measures[0], scores.unit(AS_IT_IS)
    names = list(exchanged)
    losses = scores.together([scores.unit(name) - matched for name in names], confidence)
    return Mismatches(
        target=target,
        measure=measure,
        num_rows=num_rows,
        matched=scores.of(matched, confidence)[measure],
        whole=scores.of(matched - scores.unit(WITHOUT), confidence)[measure],
        columns=tuple(
            Mismatch(
                column=name,
                num_exchanged=exchanged[name],
                score=scores.of(scores.unit(name), confidence)[measure],
                loss=loss[measure],
            )
            for name, loss in zip(names, losses, strict=True)
        ),
    )
