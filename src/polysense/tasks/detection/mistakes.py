"""The surest detections that hit nothing, the largest boxes that were missed, and boxes with another class's name."""

from __future__ import annotations

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.detection.overlaps import overlaps
from polysense.tasks.detection.record import DetectionTarget

__all__ = ["mistakes"]

_MAX_ROWS = 6
_HIT = 0.5


def mistakes(target: DetectionTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """By kind, each in its rows; detections that are written count. See `TaskSpec`."""
    statistics = evaluation.statistics[target.name]
    names = (*target.classes, "an unknown class")
    missed: list[tuple[float, Mistake]] = []
    confused: list[tuple[float, Mistake]] = []
    nothing: list[tuple[float, Mistake]] = []
    for row in np.flatnonzero(statistics["present"]).tolist():
        truth, predicted = statistics["truth"][row], statistics["predicted"][row]
        predicted = predicted[predicted[:, 5] >= target.written_score]
        iou = overlaps(predicted[:, 1:5], truth[:, 3:7])
        same = predicted[:, 0, None] == truth[None, :, 0]
        hit = (iou * same).max(axis=1, initial=0.0) >= _HIT
        for index in np.flatnonzero(~hit).tolist():
            label, score = names[int(predicted[index, 0])], float(predicted[index, 5])
            if len(truth) and iou[index].max() >= _HIT:
                true = names[int(truth[iou[index].argmax(), 0])]
                confused.append((score, Mistake(position=row, words=f"{label} {score:.2f} is {true}")))
            else:
                nothing.append((score, Mistake(position=row, words=f"{label} {score:.2f} where none is")))
        wanted = (truth[:, 1] == 0) & ((iou * same).max(axis=0, initial=0.0) < _HIT)
        for index in np.flatnonzero(wanted).tolist():
            area = float(truth[index, 2])
            missed.append((area, Mistake(position=row, words=f"{names[int(truth[index, 0])]} of {area:,.0f} pixels")))
    groups = (
        ("boxes that were missed", missed, "The largest first."),
        ("boxes with another class's name", confused, "The surest first."),
        ("detections where nothing is", nothing, "The surest first."),
    )
    return [
        MistakeGroup(
            title=title,
            total=len(every),
            mistakes=[mistake for _, mistake in sorted(every, key=lambda one: -one[0])[:_MAX_ROWS]],
            note=note,
        )
        for title, every, note in groups
        if every
    ]
