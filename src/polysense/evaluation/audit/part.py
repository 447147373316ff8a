"""AuditPart: one question that an audit answers of one target, in numbers, in sentences and as a section of the report.

A part is what was measured and nothing else: it holds no model and no table, so `audit.json`, the terminal and the
report read the same numbers. What it measures from row statistics alone is a function of an `AuditInput`; what needs
the model is made in `workflows.audit`, which also has the ordered list of all parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from polysense.core.metric import Statistics
from polysense.core.report_section import ReportSection
from polysense.core.schema import Target
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.audit.described import DescribedColumn

__all__ = ["AuditInput", "AuditPart"]


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditPart(ABC):
    """One part of an audit. A subclass is a frozen dataclass whose fields are what was measured.

    Attributes:
        name: Its key in audit.json, the same for every model: "missing_rates".
        title: In words, for headings.
        template: Of its section, see `core.report_section`; it gets the part itself as `part`, and draws by `charts`.
        target: The target's name.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    template: ClassVar[str]

    target: str

    @abstractmethod
    def record(self) -> Mapping[str, object]:
        """For audit.json, of what `core.json.to_json` takes; what has an interval is {"value", "low", "high"}."""

    @abstractmethod
    def findings(self) -> Sequence[str]:
        """What may be said, the most important first: whole sentences in plain words, each with its number and its
        interval. A sentence claims no more than its interval allows; where nothing may be claimed it says so, or there
        is none."""

    def section(self) -> ReportSection:
        """Its section of the report."""
        return ReportSection(template=self.template, values={"part": self})


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditInput:
    """One target's evaluated rows, for parts that need no model.

    Attributes:
        target: What was predicted.
        split: The rows' name in words: "test", or a table's name.
        statistics: Of all evaluated rows; `present` says which have the target.
        rows: int64 [rows], their positions in the data set's table, ascending.
        dataset: The rows, decoded when asked for; its table has all columns, the model's and others.
        calibration: Statistics of rows that are apart from these, the validation split's, for what is fitted before it
            is judged; None where there are none.
        clusters: int64 [rows], the group of each row, by which the bootstrap resamples; None: rows are on their own.
        seed: Of every draw.
        bootstrap: Resamples for the intervals; 0 gives values only.
        confidence: Of the intervals.
        is_full: Whether everything is asked for; else what is quick.
        by: Columns of the table that rows are grouped by.
        calibrated: How the model was calibrated, in words; "" if it was not.
        has_time: Whether there is time to decode one more cell.
        described: By input column what describes its cells, as far as that was asked; shared by the targets.
    """

    target: Target
    split: str
    statistics: Statistics
    rows: np.ndarray
    dataset: TableDataset
    calibration: Statistics | None = None
    clusters: np.ndarray | None = None
    seed: int = 0
    bootstrap: int = 1000
    confidence: float = 0.95
    is_full: bool = False
    by: tuple[str, ...] = ()
    calibrated: str = ""
    has_time: Callable[[], bool] = lambda: True
    described: dict[str, DescribedColumn] = field(default_factory=dict)

    @property
    def counted(self) -> np.ndarray:
        """Positions, among the evaluated rows, of those that have the target; int64."""
        return np.flatnonzero(self.statistics["present"])

    def cells(self, column: str) -> list[object]:
        """The evaluated rows' cells of a column of the table; None where it is missing."""
        table = self.dataset.table
        return [table.cell(int(row), column) for row in self.rows]
