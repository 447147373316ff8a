"""Drift: columns that distinguish rows of the test from training rows, so that the test is of another kind."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from polysense.core.finding import Finding, Severity
from polysense.evaluation.findings.checked import CheckedColumn, CheckedTable
from polysense.evaluation.findings.detector import FALSE_ALARMS, Detector
from polysense.evaluation.findings.two_samples import (
    Separation,
    bins_of,
    common_codes,
    separation,
    separation_by_bins,
)

__all__ = ["Drift"]

_FEWEST = 30  # rows of each part
_LEAST = 0.55  # area under the curve that the interval must exceed
_LARGE = 0.7


class Drift(Detector):
    """Inputs whose cells differ between training and another part, more than chance makes of a random split."""

    kinds: ClassVar = {"drift": "an input whose cells distinguish rows of validation or test from training rows"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        if checked.is_drawn or "train" not in checked.parts:
            return
        train = checked.in_part("train")
        tests = []
        for part in checked.parts:
            other = checked.in_part(part)
            if part != "train":
                for column in checked.columns:
                    result = _compare(checked, column, train, other)
                    if result is not None:
                        tests.append((part, column, result))
        for part, column, (area, error, p_value) in tests:
            level = 1 - FALSE_ALARMS / len(tests)
            reach = NormalDist().inv_cdf((1 + level) / 2) * error
            if p_value > 1 - level or area - reach < _LEAST:
                continue
            yield Finding(
                kind="drift",
                severity=Severity.WARNING if area >= _LARGE else Severity.INFO,
                columns=(column.source,),
                message=f"{column.name}: it distinguishes {part} rows from training rows: area under the curve "
                f"{area:.2f} ({max(area - reach, 0):.2f} to {min(area + reach, 1):.2f}, corrected for {len(tests):,} "
                f"{'comparison' if len(tests) == 1 else 'comparisons'}; 0.50 is chance)",
                action="look at both; if the test is what the model is for, collect training rows like it",
            )


def _compare(checked: CheckedTable, column: CheckedColumn, train: np.ndarray, other: np.ndarray) -> Separation | None:
    rows = np.flatnonzero(train | other)
    second = other[rows]
    if column.codes is not None:
        bins = common_codes(column.codes[rows])
    elif column.is_value and column.numbers:
        bins = bins_of(next(iter(column.numbers.values()))[rows])
    elif column.read is not None and column.read.features is not None and column.read.features.shape[1]:
        chosen = np.isin(column.read.positions, rows)
        second = other[column.read.positions[chosen]]
        if min(second.sum(), (~second).sum()) < _FEWEST:
            return None
        where = column.read.positions[chosen]
        return separation(column.read.features[chosen], second, checked.seed, _effective(checked, where, second))
    else:
        bins = column.missing[rows].astype(np.int64)
    if min(second.sum(), (~second).sum()) < _FEWEST or bins.min() == bins.max():
        return None
    return separation_by_bins(bins, second, checked.seed, _effective(checked, rows, second))


def _effective(checked: CheckedTable, rows: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    """Independent units of both sets: groups of rows that the split keeps whole, where it does."""
    if checked.clusters is None:
        return int((~second).sum()), int(second.sum())
    clusters = checked.clusters[rows]
    alone = clusters < 0
    return (
        len(np.unique(clusters[~second & ~alone])) + int((~second & alone).sum()),
        len(np.unique(clusters[second & ~alone])) + int((second & alone).sum()),
    )
