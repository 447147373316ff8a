"""The result of measuring the columns' contributions, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from polysense.core.json import json_object
from polysense.core.spelling import enumerated
from polysense.core.task_spec import Measure
from polysense.evaluation.bootstrap import Interval

__all__ = [
    "FEWEST_ROWS",
    "MARGIN",
    "MOST_NAMES",
    "Addition",
    "ColumnContribution",
    "Contributions",
    "Interaction",
    "TargetContributions",
    "Verdict",
    "amount",
    "bounds",
    "rows_to_tell",
    "verdict_of",
]

FEWEST_ROWS = 10
"""A bootstrap of fewer knows too few values: of 2 rows its interval misses the truth every other time."""

MOST_NAMES = 8
"""Columns that a sentence names; of more it says how many."""

MARGIN = 0.01
"""What is too small to matter: a percentage point of a share, .01 of R2, .01 nats."""

_SHARE_OF_WORTH = 0.25
_MOST_ROWS_TO_TELL = 1_000_000
_UNSEEN = 3.7  # rows: of a share of so many by their number no row is seen in one of 40 samples, see `VariantScores`


class Verdict(StrEnum):
    """What a column is worth to the model, as far as the rows measured can tell.

    It is read from the drop: the score with all columns less the score with all but this one, and its interval, which
    holds for all columns at once.

    - helps: the interval lies above 0; or it holds 0, the column is not redundant, and that of the log loss, which also
      sees a probability move that changes no decision, lies above 0, with .01 nats at least, while the column alone is
      better than none by it.
      In either case all columns together are better than none by that measure: of a model that is no better than
      guessing no column helps.
    - hurts: the interval lies below 0.
    - redundant: the interval holds 0, the column alone is better than none, and what is lost without it is at most a
      quarter of that, or a percentage point, whichever is more, by the intervals' ends: others say the same.
    - no help: the interval lies within a percentage point (of R2 .01) of 0.
    - inconclusive: the interval holds 0 and more; or there are fewer than 10 rows.
    """

    HELPS = "helps"
    REDUNDANT = "redundant"
    NO_HELP = "no help"
    INCONCLUSIVE = "inconclusive"
    HURTS = "hurts"


@dataclass(frozen=True, kw_only=True)
class ColumnContribution:
    """One column's part in one target's predictions, by measure; of the log loss the sign is turned, higher is better.

    Several columns that were only measured together are one of these, see `evaluation.players`: what is said of them is
    said of all at once, and of none by itself.

    Attributes:
        name: The column.
        modality: What its cells are; of several columns all that they are.
        members: Of several columns that were measured together by name what their cells are; none of one.
        num_present: Rows of those measured in which the column is there, or any of several.
        drop: v of all columns less v of all the others, paired; the verdict is read from it.
        shapley: Its share of v(all) - v(none).
        only_this: v of the column, the others masked.
        gain_of_only_this: v of the column less v of none, paired.
        all_but_this: v of all the other columns.
        trained_alone: The score of the best model that was trained on this column and no other; None where there is
            none.
        verdict: What it is worth.
        by: The measure that the verdict was read from.
        stands_in_for: Columns beside which it adds nothing measurable, but which it replaces in part where they are
            missing.
        rows_to_tell: About how many rows like these would tell; None where they do, or a million would not.
    """

    name: str
    modality: str
    num_present: int
    drop: Mapping[str, Interval]
    shapley: Mapping[str, Interval]
    only_this: Mapping[str, Interval]
    gain_of_only_this: Mapping[str, Interval]
    all_but_this: Mapping[str, Interval]
    trained_alone: Interval | None
    verdict: Verdict
    by: Measure
    members: Mapping[str, str] = field(default_factory=dict)
    stands_in_for: tuple[str, ...] = ()
    rows_to_tell: int | None = None

    @property
    def is_group(self) -> bool:
        """Whether it is several columns."""
        return bool(self.members)

    @property
    def note(self) -> str:
        """What the verdict leaves out, in a few words; empty if nothing."""
        of_many = [f"{len(self.members):,} columns together; none was measured by itself"] if self.is_group else []
        return "; ".join(filter(None, [*of_many, self._note]))

    @property
    def _note(self) -> str:
        measure = next(iter(self.drop))
        if not self.num_present:
            return "absent in every row measured"
        if self.by != measure:
            drop = self.drop[self.by]
            between = f", {amount(self.by, drop.low)} to {amount(self.by, drop.high)}" if drop.has_bounds else ""
            return f"by its drop of the {self.by.label} ({amount(self.by, drop.value)}{between})"
        if self.stands_in_for:
            adds, replaces = ("add", "replace") if self.is_group else ("adds", "replaces")
            return f"{adds} nothing measurable to {enumerated(self.stands_in_for)}, but {replaces} it where missing"
        if self.verdict is Verdict.HELPS and not self.gain_of_only_this[measure].low > 0:
            return f"{'help' if self.is_group else 'helps'} only together with others"
        if self.verdict is Verdict.INCONCLUSIVE and self.rows_to_tell is not None:
            return f"about {self.rows_to_tell:,} rows would tell"
        return ""


def verdict_of(
    measures: Sequence[Measure],
    drop: Mapping[str, Interval],
    alone: Mapping[str, Interval],
    whole: Mapping[str, Interval],
    num_rows: int,
    *,
    is_of_value_alone: bool = False,
) -> tuple[Verdict, Measure]:
    """A column's verdict, and the measure that it is read from; see `Verdict`.

    Args:
        measures: The score, then what is finer.
        drop: By measure what is lost without the column.
        alone: By measure what the column alone adds to none.
        whole: By measure what all columns add to none.
        num_rows: Rows measured.
        is_of_value_alone: Whether a model that was trained on this column alone is better than none.
    """
    score = measures[0]
    if num_rows < FEWEST_ROWS:
        return Verdict.INCONCLUSIVE, score
    low, high = bounds(drop[score])
    # Without a column a model that knows nothing may still do worse: it has not learned to be without it.
    known = {measure for measure in measures if bounds(whole[measure])[0] > 0}
    if low > 0 and score in known:
        return Verdict.HELPS, score
    if high < 0:
        return Verdict.HURTS, score
    worth, _ = bounds(alone[score])
    if (worth > 0 or is_of_value_alone) and high <= max(MARGIN, _SHARE_OF_WORTH * worth):
        return Verdict.REDUNDANT, score
    for measure in measures[1:]:
        matters = bounds(drop[measure])[0] > 0 and drop[measure].value >= MARGIN
        if matters and bounds(alone[measure])[0] > 0 and measure in known:
            return Verdict.HELPS, measure
    if low >= -MARGIN and high <= MARGIN:
        return Verdict.NO_HELP, score
    return Verdict.INCONCLUSIVE, score


def rows_to_tell(drop: Interval, num_rows: int) -> int | None:
    """About how many rows narrow an interval that holds 0 until it does not, or lies within the margin.

    The width falls with the root of the rows, and where no row differs with their number; the value is taken to stay.

    Args:
        drop: Inconclusive.
        num_rows: Rows that it was measured on.
    """
    if not drop.has_bounds or not num_rows:
        return None
    width = max(drop.high - drop.value, drop.value - drop.low)
    # Half of the margin is left for the value where this one has to shrink into it.
    power = 1 if width * num_rows <= _UNSEEN else 2
    needed = num_rows * (width / max(abs(drop.value), MARGIN / 2)) ** power
    digits = 10 ** max(0, len(str(int(needed))) - 2)
    rounded = int(-(-needed // digits) * digits)
    return rounded if num_rows < rounded <= _MOST_ROWS_TO_TELL else None


def bounds(effect: Interval) -> tuple[float, float]:
    """Of an interval; where there is none the value is both."""
    return (effect.low, effect.high) if effect.has_bounds else (effect.value, effect.value)


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A column that is added to others.

    Attributes:
        column: Which one.
        to: The others; none of them: to nothing.
        gain: Of the score; the intervals of all additions hold at once.
    """

    column: str
    to: tuple[str, ...]
    gain: Interval


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Two columns together.

    Attributes:
        columns: The two.
        value: What they add to the score together beyond what each adds without the other, by the Shapley-Taylor index;
            below 0 where one stands in for the other. The intervals of all pairs hold at once.
    """

    columns: tuple[str, str]
    value: Interval


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
        whole: v with all columns less v with none, paired.
        columns: In the schema's order; several that were measured together are one, at the place of the first.
        subsets: v of every subset tried, the smallest first.
        over_nothing: Of every subset tried but none v of the score less that of none; the intervals hold at once.
        additions: Every column added to every subset of others, as far as both were tried.
        interactions: Of every pair of columns; none where not every subset was tried.
    """

    target: str
    measures: tuple[Measure, ...]
    num_rows: int
    exact: bool
    nothing: Mapping[str, Interval]
    full: Mapping[str, Interval]
    whole: Mapping[str, Interval]
    columns: tuple[ColumnContribution, ...]
    subsets: tuple[tuple[tuple[str, ...], Mapping[str, Interval]], ...]
    over_nothing: tuple[tuple[tuple[str, ...], Interval], ...] = ()
    additions: tuple[Addition, ...] = ()
    interactions: tuple[Interaction, ...] = ()

    @property
    def ranked(self) -> tuple[ColumnContribution, ...]:
        """The columns by their verdicts, and among equals by what is lost without them, the largest first."""
        order = {verdict: i for i, verdict in enumerate(Verdict)}
        score = self.measures[0]

        def key(column: ColumnContribution) -> tuple[int, float, float]:
            worth = column.gain_of_only_this if column.verdict is Verdict.REDUNDANT else column.drop
            return order[column.verdict], -worth[score].value, -column.drop[column.by].value

        return tuple(sorted(self.columns, key=key))

    def as_json(self) -> dict[str, Any]:
        """For contribution.json."""
        result = json_object(
            self,
            columns={column.name: _column_json(column) for column in self.columns},
            subsets=[{"columns": names, "values": values} for names, values in self.subsets],
            over_nothing=[{"columns": names, "gain": gain} for names, gain in self.over_nothing],
        )
        del result["target"]
        return result

    def sentence(self) -> str:
        """Which columns help and which do not, for a reader in a hurry."""
        if not self.num_rows:
            return f"{self.target}: no row has this target, so nothing can be said of the columns."
        if self.num_rows < FEWEST_ROWS:
            return (
                f"{self.target}: {self.num_rows} rows are too few to measure what a column contributes; {FEWEST_ROWS} "
                "are needed."
            )
        of = {verdict: [column for column in self.ranked if column.verdict is verdict] for verdict in Verdict}
        parts = []
        if helping := of[Verdict.HELPS]:
            best, *others = helping
            most = " most" if others else ""
            part = f"{_named(best)} {'help' if best.is_group else 'helps'}{most} ({_lost(best)}{_between(best)})"
            then = [f"{_named(other)} ({_lost(other)})" for other in others]
            parts.append(part + (f", then {enumerated(then, MOST_NAMES)}" if then else ""))
        elif of[Verdict.REDUNDANT]:
            parts.append("no column is missed as long as the others are there")
        else:
            parts.append("no column shows measurable help")
        # What was measured of several columns together is said of them, and of none by itself.
        for verdict, one, many in (
            (Verdict.REDUNDANT, "is redundant", "are redundant"),
            (Verdict.NO_HELP, "is no help", "are no help"),
            (Verdict.INCONCLUSIVE, "is inconclusive", "are inconclusive"),
            (Verdict.HURTS, "hurts", "hurt"),
        ):
            if columns := of[verdict]:
                are = many if len(columns) > 1 or columns[0].is_group else one
                parts.append(f"{enumerated([_named(each) for each in columns], MOST_NAMES)} {are}")
        return " ".join(filter(None, [f"{self.target}: {'; '.join(parts)}.", self._of_groups()]))

    def _of_groups(self) -> str:
        """Of how many columns nothing is said one by one."""
        together = sum(len(column.members) for column in self.columns)
        if not together:
            return ""
        total = together + sum(not column.is_group for column in self.columns)
        return f"{together:,} of {total:,} columns were only measured together, so nothing is said of each of them."


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


def _column_json(column: ColumnContribution) -> dict[str, Any]:
    """A column for contribution.json, where "alone" has two names: `others_masked`, and `trained_alone`."""
    plain = json_object(column, note=column.note)
    names = {"only_this": "others_masked", "gain_of_only_this": "gain_with_others_masked"}
    return {names.get(name, name): value for name, value in plain.items()}


def amount(measure: Measure, value: float) -> str:
    """A signed gain as people read it."""
    listed = f"{100 * value:+.1f}" if measure.unit == "pp" else f"{value:+.3f}"
    # What rounds to zero has no sign worth reading.
    return listed[1:] if not listed.strip("+-0.") else listed.replace("-", "−")


def _lost(column: ColumnContribution) -> str:
    without = "without them" if column.is_group else "without it"
    return f"{amount(column.by, -column.drop[column.by].value)} {column.by.in_sentence} {without}"


def _between(column: ColumnContribution) -> str:
    drop = column.drop[column.by]
    return f", {amount(column.by, -drop.high)} to {amount(column.by, -drop.low)}" if drop.has_bounds else ""


def _named(column: ColumnContribution) -> str:
    """The column, with its modality unless it bears that name."""
    if column.is_group:
        return f"{column.name} together"
    return column.name if column.name.lower() == column.modality else f"{column.name} ({column.modality})"
