"""Subsets: where the model does worst, whether a column that is added hurts, and which columns work together.

All of it is read from the scores of the columns' subsets that the contributions were measured by; nothing is predicted
anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from polysense.core.json import json_object
from polysense.core.spelling import enumerated
from polysense.core.task_spec import Measure
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.wording import change, is_told, scored
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import FEWEST_ROWS, Addition, Interaction, TargetContributions

__all__ = ["Subsets", "subsets"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Subsets(AuditPart):
    """What the subsets of the columns say.

    Attributes:
        measure: Of the score; higher is better.
        num_rows: Rows measured.
        num_subsets: That were tried, none and all among them.
        nothing: The score with no column.
        whole: What all columns add to that.
        worst: The columns of the worst subset but the empty one, and its score.
        worst_gain: What that adds to no column; the intervals of all subsets hold at once.
        num_additions: A column added to others, as far as both subsets were tried.
        hurting: Those that measurably lower the score, the worst first.
        interactions: Pairs of columns that measurably do more together, or less, than each does without the other, the
            strongest first.
    """

    name: ClassVar[str] = "subsets"
    title: ClassVar[str] = "Columns together"
    template: ClassVar[str] = "audit_subsets.html.j2"

    measure: Measure
    num_rows: int
    num_subsets: int
    nothing: Interval
    whole: Interval
    worst: tuple[tuple[str, ...], Interval]
    worst_gain: Interval
    num_additions: int
    hurting: tuple[Addition, ...]
    interactions: tuple[Interaction, ...]

    def record(self) -> Mapping[str, object]:
        """See `AuditPart`."""
        columns, score = self.worst
        return {
            "measure": str(self.measure),
            "num_rows": self.num_rows,
            "num_subsets": self.num_subsets,
            "nothing": self.nothing.as_json(),
            "whole": self.whole.as_json(),
            "worst": {"columns": list(columns), "score": score.as_json(), "gain": self.worst_gain.as_json()},
            "num_additions": self.num_additions,
            "share_hurting": len(self.hurting) / self.num_additions if self.num_additions else None,
            "hurting": [json_object(each) for each in self.hurting],
            "interactions": [json_object(each) for each in self.interactions],
        }

    def findings(self) -> Sequence[str]:
        """See `AuditPart`."""
        if not is_told(self.whole):
            return []  # what a model does that is as good as guessing is chance
        results = []
        for each in self.interactions:
            pair, value = " and ".join(each.columns), each.value
            words = "work together" if value.value > 0 else "say the same in part"
            results.append(f"{pair} {words}: {change(self.measure, value)} beyond what each adds without the other.")
        columns, score = self.worst
        if self.worst_gain.has_bounds and self.worst_gain.high < 0:
            results.append(
                f"With {enumerated(columns)} and nothing else the {self.measure.label} is {scored(score)}, worse than "
                f"with no column at all, {scored(self.nothing)}."
            )
        if self.hurting:
            first = self.hurting[0]
            to = enumerated(first.to) if first.to else "nothing"
            results.append(
                f"Adding a column to others lowers the {self.measure.label} in {len(self.hurting)} of "
                f"{self.num_additions} cases, most where {first.column} is added to {to}: "
                f"{change(self.measure, first.gain)}."
            )
        return results


def subsets(contributions: TargetContributions) -> Subsets | None:
    """The part; None where there are too few columns or rows to say anything of subsets."""
    if len(contributions.columns) < 2 or contributions.num_rows < FEWEST_ROWS:
        return None
    measure = contributions.measures[0]
    scores = {names: values[measure] for names, values in contributions.subsets}
    worst, worst_gain = min(contributions.over_nothing, key=lambda entry: entry[1].value)
    hurting = [each for each in contributions.additions if each.gain.has_bounds and each.gain.high < 0]
    known = [
        each
        for each in contributions.interactions
        if each.value.has_bounds and (each.value.low > 0 or each.value.high < 0)
    ]
    return Subsets(
        target=contributions.target,
        measure=measure,
        num_rows=contributions.num_rows,
        num_subsets=len(contributions.subsets),
        nothing=contributions.nothing[measure],
        whole=contributions.whole[measure],
        worst=(worst, scores[worst]),
        worst_gain=worst_gain,
        num_additions=len(contributions.additions),
        hurting=tuple(sorted(hurting, key=lambda each: each.gain.value)),
        interactions=tuple(sorted(known, key=lambda each: -abs(each.value.value))),
    )
