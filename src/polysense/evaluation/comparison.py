"""Which variant is better, and how sure that is: means over training seeds, paired differences, corrected for number.

Two trainings that differ in nothing but their seed often differ more than two methods do, so the unit here is a
training, not a row. Variants share their seeds (the same initial weights, order of rows and augmentation wherever the
variants allow it), so their difference is taken seed by seed, which leaves out what a seed does to all of them alike.
Selection looks at the validation rows alone; what is reported is measured on other rows, if there are any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from polysense.core.json import json_object
from polysense.core.schema import Target
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.significance import Outcome, holm, mean_interval, t_test
from polysense.evaluation.target_metrics import finer_metric, selection_metric

__all__ = [
    "FACTS",
    "Comparison",
    "Difference",
    "Entry",
    "Kind",
    "Measure",
    "Row",
    "compare_entries",
    "measures_of",
    "overall",
]

_OVERALL = "score"


class Kind(StrEnum):
    """What a row of the table is."""

    VARIANT = "variant"
    UNIMODAL = "alone"
    ENSEMBLE = "ensemble"
    SIMPLE = "simple"
    CONSTANT = "constant"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number that entries are compared by.

    Attributes:
        key: target/metric, or "score": the mean over the targets of what each is selected by.
        higher_is_better: The direction.
        bounds: The lowest and the highest value that it can take; a mean's interval ends there.
    """

    key: str
    higher_is_better: bool = True
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def name(self) -> str:
        """For people."""
        return self.key.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was measured of one variant or baseline.

    Attributes:
        name: What people call it.
        kind: Variant or baseline.
        values: {split: {seed: {measure's key: value}}}; a seed that failed is not there.
        failures: {seed: reason}.
        facts: {"parameters", "seconds", "samples_per_second"}: means over the seeds, where they are known.
    """

    name: str
    kind: Kind = Kind.VARIANT
    values: Mapping[str, Mapping[int, Mapping[str, float]]] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    def measured(self, split: str, key: str) -> dict[int, float]:
        """A measure's value by seed."""
        return {seed: result[key] for seed, result in sorted(self.values.get(split, {}).items()) if key in result}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row's difference to the reference, over the seeds that both have.

    Attributes:
        mean: With its paired t interval.
        p: Of the paired t test, two-sided; NaN where there is none.
        p_holm: Corrected for the number of rows of the same sort that are compared with the reference.
        outcome: What may be said.
    """

    mean: Interval
    p: float
    p_holm: float
    outcome: Outcome

    def as_json(self) -> dict[str, object]:
        """For comparison.json."""
        return {**self.mean.as_json(), "p": self.p, "p_holm": self.p_holm, "outcome": self.outcome}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the ranked table.

    Attributes:
        entry: What it is of.
        means: Per measure's key the mean over seeds on the judged rows, with its t interval.
        validation: Likewise on the validation rows, where there are any.
        differences: Per measure's key, to the reference; empty for the reference itself.
        selected: Whether the validation rows chose it among the variants.
    """

    entry: Entry
    means: Mapping[str, Interval]
    validation: Mapping[str, Interval]
    differences: Mapping[str, Difference]
    selected: bool = False

    @property
    def failure(self) -> str | None:
        """Why it did not run to its end with every seed."""
        if not self.entry.failures:
            return None
        seed, reason = next(iter(self.entry.failures.items()))
        done = len(next(iter(self.entry.values.values()), {}))
        return f"failed: {reason}" if not done else f"failed with {len(self.entry.failures)} seed(s), {seed}: {reason}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison as a whole.

    Attributes:
        title: Of the report.
        folder: Where it lies.
        measures: What rows are compared by; the first one ranks.
        rows: The best first, by the judged rows; what failed comes last.
        split: The judged rows: "test" or "validation".
        reference: The row's name that the others are compared with: the one that validation selected, or without
            validation rows the first variant.
        seeds: The training seeds.
        confidence: Of the intervals.
        settings: What was asked for, for the record.
        remarks: More that a reader must know, in sentences.
    """

    title: str
    folder: str
    measures: tuple[Measure, ...]
    rows: tuple[Row, ...]
    split: str
    reference: str | None
    seeds: tuple[int, ...]
    confidence: float = 0.95
    settings: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.entry.name == name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, in plain sentences."""
        notes = []
        if self.reference is None:
            notes.append("No variant ran to its end, so there is nothing to compare.")
        elif self.row(self.reference).selected:
            notes.append(
                f"{self.reference!r} was selected by {self.measures[0].name} on the validation rows alone; the others "
                "are compared with it."
            )
            if self.split == "validation":
                notes.append(
                    "The figures are of the same validation rows, which also chose each training's epoch: those of the "
                    "selected variant are too good. Rows that chose nothing (a test split) would tell."
                )
            else:
                notes.append("The test figures chose nothing; choosing by them would make them too good.")
        else:
            notes.append(
                f"There are no validation rows, so nothing was selected: the others are compared with the first "
                f"variant, {self.reference!r}."
            )
        if len(self.seeds) == 1:
            notes.append("With one seed no claim can be made: another seed may turn the order round.")
        else:
            notes.append(
                f"Intervals are {100 * self.confidence:g}% t intervals over {len(self.seeds)} training seeds on the "
                "same split of the rows, those of differences paired by seed; better and worse hold after Holm's "
                "correction, among the variants and among the baselines."
            )
        return (*notes, *self.remarks)

    def as_json(self) -> dict[str, Any]:
        """comparison.json's content; what is undefined is None."""
        plain = json_object(
            self,
            selected_on="validation" if any(row.selected for row in self.rows) else None,
            measures=[{"key": one.key, "higher_is_better": one.higher_is_better} for one in self.measures],
            rows=[self._row_json(rank, row) for rank, row in enumerate(self.rows, 1)],
            notes=self.notes,
        )
        del plain["remarks"]  # they are among the notes
        return plain

    def _row_json(self, rank: int, row: Row) -> dict[str, object]:
        entry = row.entry
        return {
            "name": entry.name,
            "kind": entry.kind,
            "rank": rank if math.isfinite(row.means[self.measures[0].key].value) else None,
            "selected": row.selected,
            "failure": row.failure,
            "failures": entry.failures,
            "measures": {
                one.key: {
                    **row.means[one.key].as_json(),
                    "validation": row.validation.get(one.key),
                    "seeds": entry.measured(self.split, one.key),
                    "difference": None if (other := row.differences.get(one.key)) is None else other.as_json(),
                }
                for one in self.measures
            },
            **{name: entry.facts.get(name) for name in FACTS},
        }


FACTS = ("parameters", "seconds", "samples_per_second")
"""What is known of a variant besides its scores."""


def measures_of(targets: Sequence[Target]) -> tuple[Measure, ...]:
    """What entries are compared by: what each target is selected by, and the metric that sees smaller differences.

    With several targets the mean of what they are selected by comes first: it ranks.
    """
    result = [Measure(key=_OVERALL)] if len(targets) > 1 else []
    for target in targets:
        for info in (selection_metric(target), finer_metric(target)):
            result.append(
                Measure(key=f"{target.name}/{info.name}", higher_is_better=info.higher_is_better, bounds=info.bounds)
            )
    return tuple(result)


def overall(values: Mapping[str, float], targets: Sequence[Target]) -> dict[str, float]:
    """One evaluation's measures from its values by target/metric; NaN where a metric is undefined."""
    chosen = [values.get(f"{target.name}/{selection_metric(target).name}", math.nan) for target in targets]
    mean = {_OVERALL: float(np.mean(chosen))} if len(targets) > 1 else {}
    return mean | {one.key: values.get(one.key, math.nan) for one in measures_of(targets) if one.key != _OVERALL}


def compare_entries(
    entries: Sequence[Entry],
    measures: Sequence[Measure],
    *,
    split: str,
    seeds: Sequence[int],
    title: str = "comparison",
    folder: str = "",
    confidence: float = 0.95,
    settings: Mapping[str, Any] | None = None,
    remarks: Sequence[str] = (),
) -> Comparison:
    """Selects on validation, ranks on the judged rows, and says which differences can be told from chance.

    Args:
        entries: Variants in the order that they were asked for, and baselines.
        measures: What to compare by; the first one selects and ranks.
        split: The judged rows.
        seeds: The training seeds.
        title: Of the report.
        folder: Where it lies.
        confidence: Of the intervals.
        settings: For the record.
        remarks: More that a reader must know, in sentences.
    """
    first = measures[0]
    complete = [
        entry for entry in entries if entry.kind is Kind.VARIANT and not entry.failures and _mean(entry, split, first)
    ]
    candidates = [entry for entry in complete if _mean(entry, "validation", first)]
    # Accuracy ties often where there are few validation rows; the next measure, a log loss, decides then.
    selected = max(candidates, key=lambda e: [_sortable(e, "validation", m) for m in measures[:3]], default=None)
    reference = selected or next(iter(complete), None)
    differences = _differences(entries, reference, measures, split, confidence)
    rows = [
        Row(
            entry=entry,
            means={one.key: _interval(entry, split, one, confidence) for one in measures},
            validation={
                one.key: _interval(entry, "validation", one, confidence)
                for one in measures
                if entry.measured("validation", one.key)
            },
            differences=differences[entry.name],
            selected=entry is selected,
        )
        for entry in entries
    ]
    rows.sort(key=lambda row: -_sortable(row.entry, split, first))
    return Comparison(
        title=title,
        folder=folder,
        measures=tuple(measures),
        rows=tuple(rows),
        split=split,
        reference=None if reference is None else reference.name,
        seeds=tuple(seeds),
        confidence=confidence,
        settings=dict(settings or {}),
        remarks=tuple(remarks),
    )


def _differences(
    entries: Sequence[Entry], reference: Entry | None, measures: Sequence[Measure], split: str, confidence: float
) -> dict[str, dict[str, Difference]]:
    """Per entry and measure, to the reference."""
    results: dict[str, dict[str, Difference]] = {entry.name: {} for entry in entries}
    if reference is None:
        return results
    for measure in measures:
        base = reference.measured(split, measure.key)
        for is_variant in (True, False):
            family = [e for e in entries if (e.kind is Kind.VARIANT) is is_variant and e is not reference]
            paired = [
                [value - base[seed] for seed, value in entry.measured(split, measure.key).items() if seed in base]
                for entry in family
            ]
            p_values = [t_test(differences) for differences in paired]
            for entry, differences, p, corrected in zip(family, paired, p_values, holm(p_values), strict=True):
                if differences:
                    mean = mean_interval(differences, confidence)
                    outcome = _outcome(mean.value, p, corrected, measure, 1 - confidence)
                    results[entry.name][measure.key] = Difference(mean=mean, p=p, p_holm=corrected, outcome=outcome)
    return results


def _outcome(mean: float, p: float, p_holm: float, measure: Measure, level: float) -> Outcome:
    if math.isnan(p_holm):
        return Outcome.NO_CLAIM
    if p >= level:  # exactly where the interval of the difference holds 0
        return Outcome.NONE
    if p_holm >= level:
        return Outcome.CORRECTED
    return Outcome.BETTER if (mean > 0) is measure.higher_is_better else Outcome.WORSE


def _interval(entry: Entry, split: str, measure: Measure, confidence: float) -> Interval:
    result = mean_interval(list(entry.measured(split, measure.key).values()), confidence)
    low, high = measure.bounds
    return Interval(result.value, max(result.low, low), min(result.high, high)) if result.has_bounds else result


def _mean(entry: Entry, split: str, measure: Measure) -> bool:
    """Whether there is one."""
    return math.isfinite(_interval(entry, split, measure, 0.95).value)


def _sortable(entry: Entry, split: str, measure: Measure) -> float:
    """Higher is better; what is undefined is worst."""
    value = _interval(entry, split, measure, 0.95).value
    return -math.inf if math.isnan(value) else value if measure.higher_is_better else -value
