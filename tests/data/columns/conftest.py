"""What the columns' tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.columns.base import ColumnConfig, ColumnProcessor

Fit = Callable[..., ColumnProcessor]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Fits a column on cells and gives its processor."""

    def run(config: ColumnConfig, cells: Sequence[object], **requirements: Any) -> ColumnProcessor:
        processor = config.build("c")
        sources = [SourceInfo(table="t.csv", row=i, column="c") for i in range(len(cells))]
        assert processor.fit(cells, sources, tmp_path, Requirements(**requirements)) is processor.column
        return processor

    return run


@pytest.fixture
def source() -> SourceInfo:
    """Where the cells of these tests come from."""
    return SourceInfo(table="t.csv", row=0, column="c")
