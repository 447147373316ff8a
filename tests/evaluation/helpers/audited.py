"""Rows that an audit is asked about, without a model: statistics made by hand, over a small table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polysense.core.sample import Sample
from polysense.core.schema import Column, Schema, Target
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table, read_table
from polysense.evaluation.audit.part import AuditInput


class GivenItems:
    """Preprocessing whose items are known beforehand: per column those of each row, none where a cell is missing."""

    def __init__(self, schema: Schema, items: Mapping[str, Sequence[list[np.ndarray]]]) -> None:
        self.schema, self._items = schema, items

    def prepared(self, table: Table) -> Table:
        return table

    def transform(self, table: Table, i: int, **_: Any) -> Sample:
        return Sample(row=i, values={name: rows[i] for name, rows in self._items.items() if rows[i]})

    def add_features(self, sample: Sample, table: Table, i: int) -> None:
        pass


def audit_input(
    target: Target,
    statistics: Mapping[str, np.ndarray],
    table: Mapping[str, Sequence[object]] | None = None,
    *,
    columns: Sequence[Column] = (),
    items: Mapping[str, Sequence[list[np.ndarray]]] | None = None,
    **changes: Any,
) -> AuditInput:
    """What a part is measured on; `changes` are fields of `AuditInput`."""
    num_rows = len(statistics["present"])
    cells = dict(table or {"y": list(range(num_rows))})
    rows = [dict(zip(cells, values, strict=True)) for values in zip(*cells.values(), strict=True)]
    schema = Schema(columns=tuple(columns), targets=(target,))
    dataset = TableDataset(read_table(rows), GivenItems(schema, items or {}))
    asked = {"split": "test", "rows": np.arange(num_rows), "dataset": dataset, "bootstrap": 300, **changes}
    return AuditInput(target=target, statistics=statistics, **asked)
