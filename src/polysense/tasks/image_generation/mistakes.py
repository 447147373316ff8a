"""The rows whose generated image is taken for another class than it is to show, by class."""

from __future__ import annotations

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.image_generation.record import ImageGenerationTarget

__all__ = ["mistakes"]

_MAX_GROUPS = 8
_MAX_ROWS = 3


def mistakes(target: ImageGenerationTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """The most frequent confusions first; none where no column says what an image shows. See `TaskSpec`."""
    statistics = evaluation.statistics[target.name]
    if "shown_class" not in statistics or not target.shown_classes:
        return []
    true, shown = statistics["class"], statistics["shown_class"]
    rows = np.flatnonzero(statistics["present"] & (true >= 0) & (shown != true))
    pairs = list(zip(true[rows].tolist(), shown[rows].tolist(), strict=True))
    groups = []
    for pair in sorted(set(pairs), key=lambda pair: (-pairs.count(pair), pair))[:_MAX_GROUPS]:
        own = [int(row) for row, other in zip(rows, pairs, strict=True) if other == pair]
        asked, taken = (target.shown_classes[index] for index in pair)
        listed = [Mistake(position=row, words=f"taken for {taken}") for row in own[:_MAX_ROWS]]
        groups.append(MistakeGroup(title=f"{asked}, generated as {taken}", total=len(own), mistakes=listed))
    return groups
