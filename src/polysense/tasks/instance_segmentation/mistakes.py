"""The largest things that were missed, and the surest masks that hit nothing, or a thing of another class."""

from __future__ import annotations

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.instance_segmentation.record import InstanceTarget

__all__ = ["mistakes"]

_MAX_ROWS = 6
_HIT = 0.5


def mistakes(target: InstanceTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """By kind, each in its rows; masks that are written count. See `TaskSpec`."""
    statistics = evaluation.statistics[target.name]
    names = (*target.classes, "an unknown class")
    missed, unmatched = list[tuple[float, Mistake]](), list[tuple[float, Mistake]]()
    for row in np.flatnonzero(statistics["present"]).tolist():
        truth, predicted = statistics["truth"][row], statistics["predicted"][row]
        written = predicted[:, 1] >= target.written_score
        iou = statistics["overlaps"][row].reshape(len(predicted), len(truth))[written]
        predicted = predicted[written]
        same = predicted[:, 0, None] == truth[None, :, 0]
        for index in np.flatnonzero((iou * same).max(axis=1, initial=0.0) < _HIT).tolist():
            label, score = names[int(predicted[index, 0])], float(predicted[index, 1])
            other = int(iou[index].argmax()) if len(truth) and iou[index].max() >= _HIT else None
            is_what = "where none is" if other is None else f"is {names[int(truth[other, 0])]}"
            unmatched.append((score, Mistake(position=row, words=f"{label} {score:.2f} {is_what}")))
        wanted = (truth[:, 1] == 0) & ((iou * same).max(axis=0, initial=0.0) < _HIT)
        for index in np.flatnonzero(wanted).tolist():
            area = float(truth[index, 2])
            missed.append((area, Mistake(position=row, words=f"{names[int(truth[index, 0])]} of {area:,.0f} pixels")))
    groups = (
        ("things that were missed", missed, "The largest first."),
        ("masks that fit no thing of their class", unmatched, "The surest first."),
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
