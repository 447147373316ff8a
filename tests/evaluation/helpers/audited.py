"""Rows that an audit is asked about, without a model: statistics made by hand, over a small table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polysense.config.codec import from_dict
from polysense.core.schema import Target
from polysense.data.batches.dataset import TableDataset
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.evaluation.audit.part import AuditInput


def audit_input(
    target: Target,
    statistics: Mapping[str, np.ndarray],
    table: Mapping[str, Sequence[object]] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    **changes: Any,
) -> AuditInput:
    """What a part is measured on.

    Args:
        target: What was predicted.
        statistics: Of every row of the table.
        table: Its columns; by default one that says nothing.
        columns: Input columns and their types; preprocessing is fitted on the table.
        changes: Fields of `AuditInput`.
    """
    num_rows = len(statistics["present"])
    cells = dict(table or {"note": [f"row {i}" for i in range(num_rows)]})
    read = read_table([dict(zip(cells, values, strict=True)) for values in zip(*cells.values(), strict=True)])
    inputs = {name: {"type": kind} for name, kind in (columns or {}).items()}
    config = from_dict(DataConfig, {"columns": inputs}, where="test")
    processor = Processor.fit(read, config) if inputs else Processor({}, {})
    asked = {
        "split": "test",
        "rows": np.arange(num_rows),
        "dataset": TableDataset(read, processor, with_targets=False),
        "bootstrap": 300,
        **changes,
    }
    return AuditInput(target=target, statistics=statistics, **asked)
