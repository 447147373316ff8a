"""The result of measuring the columns' contributions, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from polysense.core.json import json_object
from polysense.core.task_spec import Measure
from polysense.evaluation.bootstrap import Interval

__all__ = ["FEWEST_ROWS", "ColumnContribution", "Contributions", "TargetContributions", "Verdict", "amount"]

FEWEST_ROWS = 10
"""A bootstrap of fewer knows too few values: of 2 rows its interval misses the truth every other time."""


class Verdict(StrEnum):
    """Whether a column helps, as far as the rows measured can tell.

    It helps if its Shapley value of the score has an interval above 0, unless the model is clearly better without it.
    It hurts if that interval is below 0 and the model is better without it: else the advice to drop it would be wrong.
    Where the score can't tell, the log loss may, which is finer; but there what is lost by removal must agree with an
    interval of its own, since probabilities on small subsets say more of how the model was trained than of the column.
    On fewer than 10 rows nothing is called measurable.
    """

    HELPS = "helps"
    NONE = "no measurable help"
    HURTS = "hurts"


@dataclass(frozen=True, kw_only=True)
class ColumnContribution:
    """One column's part in one target's predictions, by measure; of the log loss the sign is turned, higher is better.

    Attributes:
        name: The column.
        modality: What its cells are.
        num_present: Rows of those measured in which the column is there.
        shapley: Its share of v(all) - v(none).
        only_this: v of the column alone.
        gain_of_only_this: v of the column alone less v of none, paired.
        all_but_this: v of all the other columns.
        drop: v of all columns less v of all the others, paired.
        verdict: Whether it helps.
        stands_in_for: Columns beside which it adds nothing measurable, but which it replaces in part where they are
            missing.
    """

    name: str
    modality: str
    num_present: int
    shapley: Mapping[str, Interval]
    only_this: Mapping[str, Interval]
    gain_of_only_this: Mapping[str, Interval]
    all_but_this: Mapping[str, Interval]
    drop: Mapping[str, Interval]
    verdict: Verdict
    stands_in_for: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What the verdict leaves out, in a few words; empty if nothing."""
        measure = next(iter(self.shapley))
        if not self.num_present:
            return "absent in every row measured"
        if self.stands_in_for:
            return f"adds nothing measurable to {_listing(self.stands_in_for)}, but replaces it where missing"
        if self.drop[measure].low > 0 and not self.gain_of_only_this[measure].low > 0:
            return "helps only together with others"
        return ""


@dataclass(frozen=True, kw_only=True)
class TargetContributions:
    """All columns' parts in one target's predictions.

    Attributes:
        target: The output.
        measures: Of a value v, the score first; log loss and errors with the sign turned, higher is better.
        num_rows: Rows measured.
        exact: Whether every subset was tried; else orders were sampled, and the intervals hold that noise too.
        nothing: v with no column: the training labels' shares or mean.
        full: v with all columns.
        columns: In the schema's order.
        subsets: v of every subset tried, the smallest first.
    """

    target: str
    measures: tuple[Measure, ...]
    num_rows: int
    exact: bool
    nothing: Mapping[str, Interval]
    full: Mapping[str, Interval]
    columns: tuple[ColumnContribution, ...]
    subsets: tuple[tuple[tuple[str, ...], Mapping[str, Interval]], ...]

    @property
    def ranked(self) -> tuple[ColumnContribution, ...]:
        """The columns by their share of the score, the largest first."""
        return tuple(sorted(self.columns, key=lambda column: -column.shapley[self.measures[0]].value))

    def as_json(self) -> dict[str, Any]:
        """For contribution.json."""
        result = json_object(
            self,
            columns={column.name: json_object(column, note=column.note) for column in self.columns},
            subsets=[{"columns": names, "values": values} for names, values in self.subsets],
        )
        del result["target"]
        return result

    def sentence(self) -> str:
        """Which columns help and which do not, for a reader in a hurry."""
        if not self.num_rows:
            return f"{self.target}: no row has this target, so nothing can be said of the columns."
        measure = self.measures[0]
        helping = [column for column in self.ranked if column.verdict is Verdict.HELPS]
        parts = []
        if helping:
            best = helping[0]
            share = best.shapley[measure]
            between = f", {amount(measure, share.low)} to {amount(measure, share.high)}" if share.has_bounds else ""
            part = f"{_named(best)} helps most ({amount(measure, share.value)} {measure.in_sentence}{between})"
            others = [f"{_named(other)} ({amount(measure, other.shapley[measure].value)})" for other in helping[1:]]
            parts.append(part + (f", then {_listing(others)}" if others else ""))
        elif self.num_rows < FEWEST_ROWS:
            parts.append(
                f"{self.num_rows} rows are too few to measure what a column contributes; {FEWEST_ROWS} are needed"
            )
        else:
            parts.append("no column shows measurable help")
        idle = [_named(column) for column in self.ranked if column.verdict is Verdict.NONE]
        hurting = [_named(column) for column in self.ranked if column.verdict is Verdict.HURTS]
        if idle and helping:
            parts.append(f"{_listing(idle)} {'shows' if len(idle) == 1 else 'show'} no measurable help")
        if hurting:
            parts.append(f"{_listing(hurting)} {'hurts' if len(hurting) == 1 else 'hurt'}")
        return f"{self.target}: {'; '.join(parts)}."


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """What each column contributed to each target.

    Attributes:
        targets: Per target.
        num_available: Rows that could have been measured; more than were, if a sample was taken.
        confidence: Of the intervals.
    """

    targets: tuple[TargetContributions, ...]
    num_available: int
    confidence: float

    def summary_sentence(self) -> str:
        """Names the columns that help and those that do not, one sentence per target."""
        return " ".join(target.sentence() for target in self.targets)

    def as_json(self) -> dict[str, Any]:
        """For contribution.json."""
        return json_object(
            {
                "confidence": self.confidence,
                "num_available": self.num_available,
                "summary": self.summary_sentence(),
                "targets": {target.target: target.as_json() for target in self.targets},
            }
        )


def amount(measure: Measure, value: float) -> str:
    """A signed gain as people read it."""
    listed = f"{100 * value:+.1f}" if measure.unit == "pp" else f"{value:+.3f}"
    # What rounds to zero has no sign worth reading.
    return listed[1:] if not listed.strip("+-0.") else listed.replace("-", "−")


def _named(column: ColumnContribution) -> str:
    """The column, with its modality unless it bears that name."""
    return column.name if column.name.lower() == column.modality else f"{column.name} ({column.modality})"


def _listing(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
