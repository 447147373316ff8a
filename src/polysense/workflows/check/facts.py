"""Facts about the inputs of a checked table, for its page: distributions, frequent values, examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from polysense.data.tables.sources import Table
from polysense.evaluation.findings.checked import CheckedColumn, CheckedTable
from polysense.reports.column_facts import ColumnFacts, Distribution

__all__ = ["MOST_COLUMNS", "column_facts"]

MOST_COLUMNS = 60
"""Columns of which a page shows more than a line."""

_BINS, _MOST_VALUES, _MOST_REASONS = 30, 12, 8


def column_facts(checked: CheckedTable, whole: Table) -> list[ColumnFacts]:
    """What a page shows of the first inputs.

    Args:
        checked: What was read.
        whole: The table, for the names of values.
    """
    reasons: dict[str, Counter[str]] = {}
    for cell in checked.unreadable:
        reasons.setdefault(cell.source.column, Counter())[cell.reason] += 1
    return [_facts(column, checked, whole, reasons) for column in checked.columns[:MOST_COLUMNS]]


def _facts(
    column: CheckedColumn, checked: CheckedTable, whole: Table, reasons: Mapping[str, Counter[str]]
) -> ColumnFacts:
    known = [_distribution(name, numbers) for name, numbers in column.numbers.items()]
    values: Sequence[tuple[str, int]] = ()
    num_values = None
    if column.codes is not None and whole.has(column.source):
        counts = Counter(str(cell) for cell in whole.cells(column.source) if cell is not None)
        values, num_values = counts.most_common(_MOST_VALUES), len(counts)
    properties = [(words, list(counts.items())[:_MOST_VALUES]) for words, counts in column.property_counts().items()]
    return ColumnFacts(
        name=column.name,
        num_missing=int(column.missing.sum()),
        num_rows=len(checked),
        unreadable=reasons.get(column.source, Counter()).most_common(_MOST_REASONS),
        distributions=[each for each in known if each is not None],
        values=values,
        num_values=num_values,
        properties=properties,
        examples=column.examples,
    )


def _distribution(name: str, numbers: np.ndarray) -> Distribution | None:
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return None
    low, high = (float(np.quantile(known, share)) for share in (0.01, 0.99))
    if high > low:
        counts, _ = np.histogram(np.clip(known, low, high), bins=_BINS, range=(low, high))
    else:
        counts = np.array([len(known)])
    five = [float(value) for value in np.quantile(known, (0.0, 0.05, 0.5, 0.95, 1.0))]
    return Distribution(
        name=name,
        num=len(known),
        quantiles=(five[0], five[1], five[2], five[3], five[4]),
        counts=tuple(counts.tolist()),
        bounds=(low, high),
    )
