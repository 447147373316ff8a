"""AuditSubject: a trained model and the rows that it is audited on, with the time that this may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from polysense.bundle import Bundle
from polysense.core.metric import Statistics
from polysense.core.schema import Target
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.evaluation.audit.described import DescribedColumn
from polysense.evaluation.audit.part import AuditInput
from polysense.evaluation.contribution_result import Contributions
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.simple_baselines import TargetBaselines
from polysense.training.time_plan import Deadline
from polysense.workflows.stored_features import store_for_bundle

__all__ = ["AuditSubject"]


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditSubject:
    """A model that is audited.

    Attributes:
        bundle: The model.
        table: The rows.
        split: Their name in words: "test", or a table's name.
        evaluation: Of the model on them.
        deadline: When the audit must be over; what doesn't fit is left out and listed.
        is_full: Whether everything is asked for; else what is quick.
        contributions: What each column contributes, where that was measured.
        simple_baselines: By target the model beside simple ones, where there are any.
        calibration: The evaluation of rows that are apart from these, the validation split's; None: there are none.
        training: The rows that the model was trained on, where they are known.
        is_seen: Whether the model was trained on these rows, which other models judged: then nothing is measured that
            needs the model.
        seed: Of every draw.
        bootstrap: Resamples for the intervals; 0 gives values only.
        confidence: Of the intervals.
        by: Columns of the table whose values are scored one by one.
        read: The rows, with what was decoded of them before; None: nothing was.
        described: By input column what describes its cells, as far as that was asked.
    """

    bundle: Bundle
    table: Table
    split: str
    evaluation: Evaluation
    deadline: Deadline
    is_full: bool = False
    contributions: Contributions | None = None
    simple_baselines: Mapping[str, TargetBaselines] = field(default_factory=dict)
    calibration: Evaluation | None = None
    training: Table | None = None
    is_seen: bool = False
    seed: int = 0
    bootstrap: int = 1000
    confidence: float = 0.95
    by: tuple[str, ...] = ()
    read: TableDataset | None = None
    described: dict[str, DescribedColumn] = field(default_factory=dict)

    @cached_property
    def dataset(self) -> TableDataset:
        """The rows with their targets; what frozen backbones gave for them comes from the store."""
        if self.read is not None:
            return self.read
        dataset = TableDataset(self.table, self.bundle.processor)
        store_for_bundle(self.bundle, [dataset], fill=False)
        return dataset

    def clusters(self, rows: np.ndarray) -> np.ndarray | None:
        """The groups of some rows, by their positions in the table; None where rows are on their own."""
        known = self.evaluation.clusters
        return None if known is None else known[np.searchsorted(self.evaluation.rows, rows)]

    def leading_columns(self, most: int) -> list[str]:
        """The names of some input columns, those of the largest contribution first where that was measured."""
        names = list(self.bundle.schema.names)
        if len(names) <= most or self.contributions is None:
            return names[:most]
        targets = self.contributions.targets
        ranked = [one.name for target in targets for one in [one for one in target.ranked if not one.is_group][:most]]
        return list(dict.fromkeys([*ranked, *names]))[:most]

    def input(self, target: Target) -> AuditInput:
        """What the parts that need no model are measured on."""
        calibration: Statistics | None = None
        if self.calibration is not None and self.calibration.num_counted(target.name):
            calibration = self.calibration.statistics[target.name]
        return AuditInput(
            target=target,
            split=self.split,
            statistics=self.evaluation.statistics[target.name],
            rows=self.evaluation.rows,
            dataset=self.dataset,
            calibration=calibration,
            clusters=self.evaluation.clusters,
            seed=self.seed,
            bootstrap=self.bootstrap,
            confidence=self.confidence,
            is_full=self.is_full,
            by=self.by,
            described=self.described,
            has_time=lambda: self.deadline.left > 0,
            calibrated=str(self.bundle.info.get("calibration", {}).get(target.name, "")),
        )
