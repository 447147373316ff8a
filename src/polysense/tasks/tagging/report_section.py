"""Labeled segments in the report: each class's scores, and a few rows, the true segments above the predicted ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from polysense.core.report_section import ReportSection
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.example_rows import example_rows
from polysense.tasks.tagging.metrics import class_counts
from polysense.tasks.tagging.record import TaggingTarget
from polysense.tasks.tagging.tagged import Segment

__all__ = ["ClassScores", "Timeline", "report_sections"]

_NUM_ROWS = 6
_MAX_CLASSES = 40


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """How well one class's segments are predicted.

    Attributes:
        name: The class.
        num_true: True segments.
        num_predicted: Predicted ones.
        num_correct: Those that are both.
    """

    name: str
    num_true: float
    num_predicted: float
    num_correct: float

    @property
    def f1(self) -> Interval:
        """Of the class."""
        both = self.num_true + self.num_predicted
        return Interval(2 * self.num_correct / both if both else math.nan)

    @property
    def precision(self) -> float:
        """Share of the predicted segments that are true."""
        return self.num_correct / self.num_predicted if self.num_predicted else math.nan

    @property
    def recall(self) -> float:
        """Share of the true segments that are predicted."""
        return self.num_correct / self.num_true if self.num_true else math.nan


@dataclass(frozen=True, kw_only=True)
class Timeline:
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
        names = [
            f"{kind} {name}"
            for kind, part in (("true", self.truth), ("predicted", self.predicted))
            for _, _, name in part
        ]
        return ", ".join(names[:20]) or "no segment"


def report_sections(target: TaggingTarget, evaluation: Evaluation, baseline: Evaluation | None) -> list[ReportSection]:
    """Each class's scores, and some rows."""
    statistics = evaluation.statistics[target.name]
    rows = np.flatnonzero(statistics["present"])
    if not len(rows):
        return []
    counts = class_counts(target, statistics)
    order = np.argsort(-counts[:, 0], kind="stable")[:_MAX_CLASSES].tolist()
    classes = [
        ClassScores(name=target.classes[i], num_true=counts[i, 0], num_predicted=counts[i, 1], num_correct=counts[i, 2])
        for i in order
    ]
    timelines = [
        _timeline(target, int(evaluation.rows[i]), *(statistics[name][i] for name in ("length", "truth", "predicted")))
        for i in example_rows(statistics["present"], _NUM_ROWS)
    ]
    values = {
        "target": target,
        "classes": classes,
        "num_classes": len(counts),
        "timelines": timelines,
        "num_rows": len(rows),
    }
    return [ReportSection(template="polysense.tasks.tagging:report.html.j2", values=values)]


def _timeline(target: TaggingTarget, row: int, length: float, truth: np.ndarray, predicted: np.ndarray) -> Timeline:
    unit = f"{length / target.units_per_second:.1f} s" if target.units_per_second else f"{length:.0f} tokens"

    def named(records: np.ndarray) -> tuple[Segment, ...]:
        return tuple((start, end, target.classes[int(i)]) for start, end, i in records[:, :3].tolist())

    return Timeline(row=row, length=length, unit=unit, truth=named(truth), predicted=named(predicted))
