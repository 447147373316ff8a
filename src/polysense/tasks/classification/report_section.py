"""The confusion matrix in the report: a heat map for few classes, the most frequent confusions for many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.classification.metrics import confusion_matrix
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["ConfusedPair", "confusion_section", "report_sections"]

_MAX_MATRIX = 20
_MAX_PAIRS = 20
_LONG_NAME = 4  # letters above which a column's head is set upright


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Two classes of which the first is predicted as the second.

    Attributes:
        true: The class of the rows.
        predicted: What was predicted.
        count: Rows of the true class that were predicted so.
        total: Rows of the true class.
    """

    true: str
    predicted: str
    count: int
    total: int

    @property
    def share(self) -> Interval:
        """Of the true class's rows."""
        return Interval(self.count / self.total if self.total else 0.0)


def report_sections(
    target: ClassificationTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """The confusion matrix; none where no row counts."""
    if not evaluation.num_counted(target.name):
        return []
    return [confusion_section(target, confusion_matrix(evaluation.statistics[target.name], len(target.classes)))]


def confusion_section(target: ClassificationTarget, counts: np.ndarray) -> ReportSection:
    """Each class against each.

    Args:
        target: A classification.
        counts: int [classes, classes], rows by true class (first axis) and predicted class.
    """
    totals = counts.sum(axis=1)

    def pair(i: int, j: int) -> ConfusedPair:
        return ConfusedPair(
            true=target.classes[i], predicted=target.classes[j], count=int(counts[i, j]), total=int(totals[i])
        )

    num_classes = len(target.classes)
    matrix, confused = None, None
    if num_classes > _MAX_MATRIX:
        off = counts.copy()
        np.fill_diagonal(off, 0)
        order = [int(i) for i in np.argsort(-off, axis=None, kind="stable")[:_MAX_PAIRS] if off.flat[i] > 0]
        confused = [pair(*divmod(i, num_classes)) for i in order]
    else:
        matrix = [[pair(i, j) for j in range(num_classes)] for i in range(num_classes)]
    long = any(len(name) > _LONG_NAME for name in target.classes)
    values = {"target": target, "matrix": matrix, "confused": confused, "long": long}
    return ReportSection(template="polysense.tasks.classification:report.html.j2", values=values)
