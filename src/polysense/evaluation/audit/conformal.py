"""Conformal sets and intervals: those that hold the truth with a stated probability, and whether they do, by group too.

The rows that fit the sets are not the rows that judge them. Where the validation rows are there they fit; else the rows
are cut into ten parts, groups kept whole, and each part is judged by sets that the other nine fitted (cross-conformal
prediction; Vovk, "Cross-conformal predictors", 2015). What is promised holds on average over all rows, not in each
group: a group that is covered less often is one for which the sets are too small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from polysense.core.audit_answers import ConformalSets
from polysense.core.json import JsonValue
from polysense.core.metric import Statistics, higher
from polysense.core.registry import task
from polysense.core.unsupported import Unsupported
from polysense.evaluation.audit.apart import NUM_FOLDS, folds_of
from polysense.evaluation.audit.groups import FEWEST_ROWS, MISSING
from polysense.evaluation.audit.part import AuditInput, AuditPart
from polysense.evaluation.audit.traits import column_values, short
from polysense.evaluation.bootstrap import Interval, metric_interval, multiplicities

__all__ = ["Conformal", "Coverage", "GroupCoverage", "measure_conformal"]

LEVEL = 0.9
"""The share of rows whose truth the sets are to hold."""

_MOST_GROUPS = 20
_MOST_SIZES = 12
_COVERAGE = higher("coverage", "Share of the rows whose set holds the truth.", is_share=True)


@dataclass(frozen=True, kw_only=True)
class GroupCoverage:
    """How often the sets of some rows hold the truth.

    Attributes:
        source: What makes the group: "true class", or a column.
        value: Which one.
        num: Rows.
        coverage: With an interval that holds for all groups at once.
        size: The mean size of the sets; NaN where one is not bounded.
    """

    source: str
    value: str
    num: int
    coverage: Interval
    size: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Coverage:
    """The sets of one thing that is predicted.

    Attributes:
        name: Of it, where a target is several; else "".
        method: How the sets are made.
        num: Rows that are judged.
        coverage: The share of them whose set holds the truth.
        size: The mean size; NaN where a set is not bounded.
        noun: What the sets are called.
        size_name: What sizes are.
        sizes: The share of the sets of each size, where these are few whole numbers.
        groups: By group.
    """

    name: str
    method: str
    num: int
    coverage: Interval
    size: float
    noun: str
    size_name: str
    sizes: Mapping[int, float]
    groups: tuple[GroupCoverage, ...]

    @property
    def is_bounded(self) -> bool:
        """Whether every set leaves something out."""
        return bool(np.isfinite(self.size))


@dataclass(frozen=True, eq=False, kw_only=True)
class Conformal(AuditPart):
    """The sets of a target.

    Attributes:
        split: The rows' name.
        level: The share that they are to hold.
        fitted_on: Which rows fit them, in words.
        coverages: One for each thing that is predicted.
        confidence: Of the intervals.
    """

    name: ClassVar[str] = "conformal"
    title: ClassVar[str] = "Conformal prediction"
    template: ClassVar[str] = "audit_conformal.html.j2"

    split: str
    level: float
    fitted_on: str
    coverages: tuple[Coverage, ...]
    confidence: float = 0.95

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "level": self.level,
            "fitted_on": self.fitted_on,
            "sets": [
                {
                    "name": each.name,
                    "method": each.method,
                    "num_rows": each.num,
                    "coverage": dict(each.coverage.as_json()),
                    "mean_size": each.size if each.is_bounded else None,
                    "size": each.size_name,
                    "groups": [
                        {
                            "source": group.source,
                            "value": group.value,
                            "num_rows": group.num,
                            "coverage": dict(group.coverage.as_json()),
                            "mean_size": group.size if np.isfinite(group.size) else None,
                        }
                        for group in each.groups
                    ],
                }
                for each in self.coverages
            ],
        }

    def findings(self) -> Sequence[str]:
        return [sentence for each in self.coverages for sentence in self._of(each)]

    def _of(self, each: Coverage) -> list[str]:
        of = f"{each.name}: " if each.name else ""
        if not each.is_bounded:
            there = "there" if of else "There"
            return [f"{of}{there} are too few rows to fit {each.noun} that leave anything out at {self.level:.0%}."]
        share = each.coverage
        bounds = f" ({share.low:.1%} to {share.high:.1%})" if share.has_bounds else ""
        warning = ""
        if share.has_bounds and share.high < self.level:
            warning = ", fewer than promised: the rows that fitted them are not like these"
        sentence = (
            f"{of}{each.noun} that are to hold the truth in {self.level:.0%} hold it in {share.value:.1%}{bounds} of "
            f"{each.num:,} {self.split} rows{warning}; {each.size_name}: {each.size:.3g} on average."
        )
        sentences = [sentence[0].upper() + sentence[1:] if not of else sentence]
        low = [group for group in each.groups if group.coverage.has_bounds and group.coverage.high < self.level]
        for group in sorted(low, key=lambda group: group.coverage.value)[:3]:
            rows = f"of the {group.num:,} rows with {group.source} = {short(group.value)}"
            bounds = f"{group.coverage.low:.1%} to {group.coverage.high:.1%}"
            sentences.append(
                f"{of}{rows if of else 'O' + rows[1:]} the {each.noun} hold the truth in {group.coverage.value:.1%} "
                f"({bounds}, corrected for {len(each.groups)} groups) only."
            )
        return sentences


def measure_conformal(asked: AuditInput) -> Conformal | None:
    """The coverage of one target's sets; None where its task makes none."""
    fit = task(asked.target.task).conformal
    if isinstance(fit, Unsupported) or not len(asked.counted):
        return None
    if asked.calibration is not None:
        sets = fit(asked.target, asked.calibration, asked.statistics, LEVEL)
        fitted_on = f"{int(asked.calibration['present'].sum()):,} validation rows"
    else:
        folds = folds_of(asked)
        if folds is None:
            return None
        parts = []
        for fold in range(NUM_FOLDS):
            judged = np.flatnonzero(folds == fold)
            others = np.flatnonzero((folds != fold) & (folds >= 0))
            parts.append((judged, fit(asked.target, _rows(asked, others), _rows(asked, judged), LEVEL)))
        sets = [_joined(asked, parts, index) for index in range(len(parts[0][1]))]
        fitted_on = "the other nine tenths of these rows"
    sources = _sources(asked)
    return Conformal(
        target=asked.target.name,
        split=asked.split,
        level=LEVEL,
        fitted_on=fitted_on,
        coverages=tuple(_coverage(asked, each, sources) for each in sets),
        confidence=asked.confidence,
    )


def _rows(asked: AuditInput, positions: np.ndarray) -> Statistics:
    return {name: values[positions] for name, values in asked.statistics.items()}


def _joined(
    asked: AuditInput, parts: Sequence[tuple[np.ndarray, Sequence[ConformalSets]]], index: int
) -> ConformalSets:
    """The parts' sets as those of all rows."""
    covered, sizes = (np.full(len(asked.rows), np.nan) for _ in range(2))
    for judged, sets in parts:
        covered[judged], sizes[judged] = sets[index].covered, sets[index].sizes
    first = parts[0][1][index]
    return ConformalSets(
        name=first.name,
        level=first.level,
        method=first.method,
        covered=covered,
        sizes=sizes,
        noun=first.noun,
        size=first.size,
    )


def _sources(asked: AuditInput) -> dict[str, np.ndarray]:
    """What rows are grouped by: the true class, where there are few, and the columns that were named."""
    results = {}
    answer = task(asked.target.task).class_probabilities
    if not isinstance(answer, Unsupported):
        judged = answer(asked.target, asked.statistics)
        if len(judged.classes) <= _MOST_GROUPS and len(np.unique(judged.rows)) == len(judged.rows):
            names = np.full(len(asked.rows), MISSING, dtype=object)
            names[judged.rows] = np.array(judged.classes, dtype=object)[judged.truth]
            results["true class"] = names
    for column in asked.by:
        cells = asked.dataset.table.cells(column)
        values = column_values([cells[int(row)] for row in asked.rows])
        results[column] = np.array([MISSING if value is None else value for value in values], dtype=object)
    return results


def _coverage(asked: AuditInput, sets: ConformalSets, sources: Mapping[str, np.ndarray]) -> Coverage:
    known = np.isfinite(sets.covered)
    places = [
        (source, value, known & (names == value))
        for source, names in sources.items()
        for value, num in Counter(names[known].tolist()).most_common(_MOST_GROUPS)
        if num >= FEWEST_ROWS
    ]
    level = 1 - (1 - asked.confidence) / max(len(places), 1)
    whole = sets.sizes[known]
    counts = Counter(whole.astype(int).tolist()) if np.isfinite(whole).all() and (whole == whole.round()).all() else {}
    return Coverage(
        name=sets.name,
        method=sets.method,
        num=int(known.sum()),
        coverage=_share(asked, sets.covered, known, asked.confidence),
        size=_mean(whole),
        noun=sets.noun,
        size_name=sets.size,
        sizes={size: counts[size] / len(whole) for size in sorted(counts)} if 0 < len(counts) <= _MOST_SIZES else {},
        groups=tuple(
            GroupCoverage(
                source=source,
                value=str(value),
                num=int(inside.sum()),
                coverage=_share(asked, sets.covered, inside, level),
                size=_mean(sets.sizes[inside]),
            )
            for source, value, inside in places
        ),
    )


def _mean(sizes: np.ndarray) -> float:
    return float(sizes.mean()) if len(sizes) and np.isfinite(sizes).all() else float("nan")


def _share(asked: AuditInput, covered: Float[np.ndarray, " rows"], inside: np.ndarray, level: float) -> Interval:
    """The covered share of some rows."""
    values = covered[inside]
    if not len(values):
        return Interval(float("nan"))
    clusters = None if asked.clusters is None else asked.clusters[inside]
    resampled = [np.zeros(0)]
    for weights in multiplicities(len(values), asked.bootstrap, asked.seed, clusters=clusters):
        resampled.append(weights @ values / np.maximum(weights.sum(axis=1), 1))
    return metric_interval(_COVERAGE, float(values.mean()), np.concatenate(resampled), level, len(values), clusters)
