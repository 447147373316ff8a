"""Groups: every metric for each value of a column, the worst group, and how far it lies behind the best.

The best and the worst are chosen by looking, so the interval of their difference is one of all pairs' at once (the
single-step max-t of Westfall and Young, 1993; of shares exact ones, by Bonferroni): of twenty groups that differ by
chance alone, no gap is claimed in 19 of 20 tables. A group of fewer than 20 rows has their
number and nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polysense.core.binomial import binomial_interval
from polysense.core.json import JsonValue
from polysense.core.metric import Metric
from polysense.evaluation.audit.part import AuditInput, AuditPart
from polysense.evaluation.audit.traits import column_values, short
from polysense.evaluation.bootstrap import Interval, multiplicities, simultaneous
from polysense.evaluation.evaluator import TargetScorer, score
from polysense.evaluation.target_metrics import headline_metric, metrics_of

__all__ = ["FEWEST_ROWS", "MISSING", "ByColumns", "Group", "Groups", "measure_groups"]

FEWEST_ROWS = 20
"""Of a group that is scored."""

MISSING = "(missing)"
"""The group of the rows whose cell is missing."""

_MOST_GROUPS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """The rows with one value.

    Attributes:
        value: Of the column.
        num: Rows that have the target.
        metrics: Their scores; empty where there are too few rows.
    """

    value: str
    num: int
    metrics: Mapping[str, Interval]


@dataclass(frozen=True, eq=False, kw_only=True)
class Groups:
    """The scores by one column.

    Attributes:
        target: The target's name.
        column: Which one.
        metric: What groups are compared by, the target's headline.
        infos: All metrics, in the order in which they are reported.
        groups: The most frequent first.
        num_left_out: Groups that are not shown, because they are many.
        best: The best group's value; None where fewer than two are scored.
        worst: The worst one's.
        gap: How much better the best is than the worst; its interval holds for all pairs of groups at once.
        num_pairs: Of groups that are scored.
        confidence: Of the intervals.
    """

    target: str
    column: str
    metric: Metric
    infos: tuple[Metric, ...]
    groups: tuple[Group, ...]
    num_left_out: int = 0
    best: str | None = None
    worst: str | None = None
    gap: Interval | None = None
    num_pairs: int = 0
    confidence: float = 0.95

    @property
    def reported(self) -> tuple[Metric, ...]:
        """Those that are read first."""
        return tuple(metric for metric in self.infos if metric.is_reported)

    def record(self) -> dict[str, JsonValue]:
        """For audit.json."""
        return {
            "column": self.column,
            "metric": self.metric.name,
            "groups": [
                {
                    "value": group.value,
                    "num_rows": group.num,
                    "metrics": {name: dict(value.as_json()) for name, value in group.metrics.items()} or None,
                }
                for group in self.groups
            ],
            "num_groups_left_out": self.num_left_out,
            "best": self.best,
            "worst": self.worst,
            "gap": None if self.gap is None else dict(self.gap.as_json()),
        }

    def findings(self) -> Sequence[str]:
        """What may be said, in one sentence; see `AuditPart`."""
        name = self.metric.name.replace("_", " ")
        small = [group for group in self.groups if not group.metrics]
        few = ""
        if small:
            listed = ", ".join(f"{short(group.value)} ({group.num:,})" for group in small[:5])
            few = (
                f" Groups of fewer than {FEWEST_ROWS} rows are not scored: {listed}{' and others' * (len(small) > 5)}."
            )
        if len(self.groups) == 1:
            return [f"{self.column} is {short(self.groups[0].value)} in every row, so nothing is compared."]
        if self.gap is None or self.best is None or self.worst is None:
            return [f"{self.column}: fewer than two groups have {FEWEST_ROWS} rows, so nothing is compared.{few}"]
        values = {group.value: group.metrics[self.metric.name] for group in self.groups if group.metrics}

        def spelled(value: str) -> str:
            own = values[value]
            bounds = f", {own.low:.3f} to {own.high:.3f}" if own.has_bounds else ""
            return f"{short(value)} ({own.value:.3f}{bounds})"

        how = f"{name} is worst for {spelled(self.worst)} and best for {spelled(self.best)}"
        if not self.gap.value:
            same = values[self.best].value
            return [f"{self.column}: {name} is the same in every group that is scored, {same:.3f}.{few}"]
        pairs = "" if self.num_pairs == 1 else f", corrected for {self.num_pairs} pairs"
        if not self.gap.has_bounds:
            return [f"{self.column}: {how}, a gap of {self.gap.value:.3f}.{few}"]
        bounds = f"{self.gap.value:.3f} ({self.gap.low:.3f} to {self.gap.high:.3f}{pairs})"
        if self.gap.low > 0:
            return [f"{self.column}: {how}, a gap of {bounds}.{few}"]
        nothing = "no group is measurably worse than another"
        return [f"{self.column}: {nothing}: {how}, and the interval of their gap of {bounds} holds 0.{few}"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ByColumns(AuditPart):
    """The scores by each of some columns.

    Attributes:
        columns: In the order in which they were named.
    """

    name: ClassVar[str] = "groups"
    title: ClassVar[str] = "Groups"
    template: ClassVar[str] = "audit_groups.html.j2"

    columns: tuple[Groups, ...]

    def record(self) -> Mapping[str, JsonValue]:
        return {"columns": [groups.record() for groups in self.columns]}

    def findings(self) -> Sequence[str]:
        return [sentence for groups in self.columns for sentence in groups.findings()]


def measure_groups(asked: AuditInput, column: str) -> Groups:
    """Scores each value of a column; many numbers are quarters.

    Args:
        asked: What is audited.
        column: Of the table.

    Raises:
        TableError: The table has no such column.
    """
    table = asked.dataset.table
    table.require(column, "column to group by")
    cells = table.cells(column)
    values = [MISSING if value is None else value for value in column_values([cells[int(row)] for row in asked.rows])]
    array = np.array(values, dtype=object)
    present = asked.statistics["present"]
    counts = Counter(value for value, there in zip(values, present, strict=True) if there)
    shown = [value for value, _ in counts.most_common(_MOST_GROUPS)]
    groups, scored = [], []
    for value in shown:
        metrics: Mapping[str, Interval] = {}
        if counts[value] >= FEWEST_ROWS:
            scored.append(value)
            own = {**asked.statistics, "present": present & (array == value)}
            evaluation = score(
                (asked.target,),
                asked.rows,
                {asked.target.name: own},
                bootstrap=asked.bootstrap,
                confidence=asked.confidence,
                seed=asked.seed,
                clusters=asked.clusters,
            )
            metrics = evaluation.metrics[asked.target.name]
        groups.append(Group(value=value, num=counts[value], metrics=metrics))
    metric = headline_metric(asked.target)
    result = Groups(
        target=asked.target.name,
        column=column,
        metric=metric,
        infos=metrics_of(asked.target, asked.statistics),
        groups=tuple(groups),
        num_left_out=len(counts) - len(shown),
        confidence=asked.confidence,
    )
    known = [group for group in groups if group.metrics and math.isfinite(group.metrics[metric.name].value)]
    if len(known) < 2:
        return result
    sign = 1.0 if metric.higher_is_better else -1.0
    order = sorted(known, key=lambda group: sign * group.metrics[metric.name].value)
    worst, best = order[0].value, order[-1].value
    pairs = list(itertools.combinations([group.value for group in order], 2))  # each better one second
    gap = (
        _share_gap(order[0], order[-1], metric, len(pairs), asked.confidence)
        if metric.is_share and asked.clusters is None and asked.bootstrap
        else _gaps(asked, metric, array, [group.value for group in order], pairs, sign)[pairs.index((worst, best))]
    )
    return Groups(**{**vars(result), "best": best, "worst": worst, "gap": gap, "num_pairs": len(pairs)})


def _share_gap(worst: Group, best: Group, metric: Metric, num_pairs: int, confidence: float) -> Interval:
    """The difference of two shares, by their exact intervals at the level that Bonferroni asks of so many pairs.

    How the two are combined: Newcombe, "Interval Estimation for the Difference Between Independent Proportions", 1998,
    method 10. A bootstrap would take a group that is right throughout for one that can't be wrong.
    """
    level = 1 - (1 - confidence) / num_pairs
    ends = []
    for group in (worst, best):
        share = group.metrics[metric.name].value
        ends.append((share, *binomial_interval(round(share * group.num), group.num, level)))
    (low_share, low_low, low_high), (high_share, high_low, high_high) = ends
    gap = high_share - low_share
    return Interval(
        gap,
        gap - math.hypot(high_share - high_low, low_high - low_share),
        gap + math.hypot(high_high - high_share, low_share - low_low),
    )


def _gaps(
    asked: AuditInput,
    metric: Metric,
    array: np.ndarray,
    values: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    sign: float,
) -> list[Interval]:
    """Of each pair the second one's advantage, with intervals that hold all at once."""
    counted = asked.counted
    of_row = array[counted]
    scorers, rankings = {}, False
    for value in values:
        own = {**asked.statistics, "present": asked.statistics["present"] & (array == value)}
        scorers[value] = TargetScorer(asked.target, own)
        once = np.ones((1, int((of_row == value).sum())))
        # Sorting scores anew for each resample takes most of the time, and few headlines need it.
        rankings |= not np.isfinite(scorers[value](once, rankings=False).get(metric.name, np.full(1, np.nan))[0])

    def measured(weights: np.ndarray) -> np.ndarray:
        each = {
            value: scorer(weights[:, of_row == value], rankings=rankings)[metric.name]
            for value, scorer in scorers.items()
        }
        return np.stack([sign * (each[better] - each[worse]) for worse, better in pairs], axis=1)

    clusters = None if asked.clusters is None else asked.clusters[counted]
    resampled = [
        measured(weights) for weights in multiplicities(len(counted), asked.bootstrap, asked.seed, clusters=clusters)
    ]
    points = measured(np.ones((1, len(counted))))[0]
    if not resampled:
        return [Interval(float(point)) for point in points]
    return simultaneous(points, np.concatenate(resampled), asked.confidence)
