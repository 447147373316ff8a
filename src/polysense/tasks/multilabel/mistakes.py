"""The most confident mistakes of a multilabel target: for each label rows that wrongly get it, and that lack it."""

from __future__ import annotations

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.multilabel.record import MultilabelTarget

__all__ = ["mistakes"]

_MAX_GROUPS = 12
_MAX_ROWS = 4


def mistakes(target: MultilabelTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """The labels with the most of them first; see `TaskSpec.mistakes`."""
    statistics = evaluation.statistics[target.name]
    if not evaluation.num_counted(target.name):
        return []
    present, truth, predicted = statistics["present"][:, None], statistics["truth"], statistics["predicted"]
    probabilities = statistics["probabilities"]
    groups = []
    for wrong, words, sureness in (
        (present & predicted & ~truth, "predicted, and not a label of the row", probabilities),
        (present & truth & ~predicted, "a label of the row, and not predicted", 1 - probabilities),
    ):
        for label, name in enumerate(target.classes):
            rows = np.flatnonzero(wrong[:, label])
            if len(rows):
                worst = rows[np.argsort(-sureness[rows, label], kind="stable")[:_MAX_ROWS]]
                listed = [
                    Mistake(position=int(i), words=f"its probability is {probabilities[i, label]:.2f}") for i in worst
                ]
                groups.append(MistakeGroup(title=f"{name}: {words}", total=len(rows), mistakes=listed))
    return sorted(groups, key=lambda group: -group.total)[:_MAX_GROUPS]
