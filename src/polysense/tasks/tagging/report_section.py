"""Labeled segments in the report: each class's scores, and a few rows, the true segments above the predicted ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset, row_number
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.metrics.base import ratio
from polysense.tasks.tagging.metrics import class_counts
from polysense.tasks.tagging.record import TaggingTarget
from polysense.tasks.tagging.tagged import Segment

__all__ = ["Timeline", "report_sections"]

_NUM_ROWS = 6
_MAX_CLASSES = 40


class Timeline(NamedTuple):
    """One row's segments over its length.

    Attributes:
        row: Its number in the table.
        length: In the segments' own positions.
        unit: The length in words: "12 tokens", "1.5 s".
        truth: The true segments.
        predicted: The predicted ones.
    """

    row: int
    length: float
    unit: str
    truth: tuple[Segment, ...]
    predicted: tuple[Segment, ...]

    @property
    def label(self) -> str:
        """For a screen reader."""
        parts = (("true", self.truth), ("predicted", self.predicted))
        return ", ".join([f"{kind} {name}" for kind, part in parts for _, _, name in part][:20]) or "no segment"


def report_sections(
    target: TaggingTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """Each class's scores, and some rows."""
    statistics = evaluation.statistics[target.name]
    rows = np.flatnonzero(statistics["present"])
    if not len(rows):
        return []
    counts = class_counts(target, statistics)
    order = np.argsort(-counts[:, 0], kind="stable")[:_MAX_CLASSES].tolist()
    true, predicted, correct = counts.T
    shares = [Interval(value) for value in ratio(2 * correct, true + predicted)]
    scores = (shares, ratio(correct, predicted), ratio(correct, true), true, predicted, correct)
    lines = list(zip(target.classes, *scores, strict=True))
    timelines = [
        _timeline(
            target,
            row_number(dataset, int(evaluation.rows[i])),
            *(statistics[name][i] for name in ("length", "truth", "predicted")),
        )
        for i in evaluation.example_rows(target.name, _NUM_ROWS)
    ]
    values = {
        "target": target,
        "classes": [lines[i] for i in order],
        "num_classes": len(counts),
        "timelines": timelines,
        "num_rows": len(rows),
    }
    return [ReportSection(template="polysense.tasks.tagging:report.html.j2", values=values)]


def _timeline(target: TaggingTarget, row: int, length: float, truth: np.ndarray, predicted: np.ndarray) -> Timeline:
    unit = f"{length / target.units_per_second:.1f} s" if target.units_per_second else f"{length:.0f} tokens"

    def named(records: np.ndarray) -> tuple[Segment, ...]:
        return tuple((start, end, target.classes[int(i)]) for start, end, i in records[:, :3].tolist())

    return Timeline(row, length, unit, named(truth), named(predicted))
