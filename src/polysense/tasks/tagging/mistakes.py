"""Errors of labeled segments by class and kind: missed, of another class, cut wrongly, or where there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.tagging.metrics import match_events
from polysense.tasks.tagging.record import TaggingTarget

__all__ = ["mistakes"]

_MAX_GROUPS = 12
_MAX_ROWS = 3
_ROUNDING = 1e-4


def mistakes(target: TaggingTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """The most frequent kinds first; see `TaskSpec.mistakes`."""
    statistics = evaluation.statistics[target.name]
    positions: dict[str, list[int]] = defaultdict(list)
    for position in np.flatnonzero(statistics["present"]):
        for kind in _errors(target, statistics["truth"][position], statistics["predicted"][position]):
            positions[kind].append(int(position))
    groups = []
    for kind, where in sorted(positions.items(), key=lambda entry: -len(entry[1]))[:_MAX_GROUPS]:
        counts = {position: where.count(position) for position in dict.fromkeys(where)}
        worst = sorted(counts, key=lambda position: -counts[position])[:_MAX_ROWS]
        listed = [
            Mistake(position=position, words=f"{counts[position]} of them" if counts[position] > 1 else "")
            for position in worst
        ]
        groups.append(MistakeGroup(title=kind, total=len(where), mistakes=listed))
    return groups


def _errors(target: TaggingTarget, true: np.ndarray, predicted: np.ndarray) -> Iterator[str]:
    """One text for each wrong segment of a row."""
    overlap = np.minimum(true[:, None, 1], predicted[None, :, 1]) - np.maximum(true[:, None, 0], predicted[None, :, 0])
    touches, same = overlap > _ROUNDING, true[:, None, 2] == predicted[None, :, 2]
    equal = (np.abs(true[:, None, :2] - predicted[None, :, :2]) < _ROUNDING).all(axis=2)
    right = set(match_events(equal & same))
    for i, segment in enumerate(true):
        name = target.classes[int(segment[2])]
        if i in right:
            continue
        if (touches[i] & same[i]).any():
            yield f"{name}: wrong boundary"
        elif touches[i].any():
            other = target.classes[int(predicted[int(overlap[i].argmax()), 2])]
            yield f"{name}: predicted as {other}"
        else:
            yield f"{name}: missed"
    for j in np.flatnonzero(~touches.any(axis=0)) if len(predicted) else ():
        yield f"{target.classes[int(predicted[j, 2])]}: predicted where there is none"
