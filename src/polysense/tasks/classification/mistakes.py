"""The most confident mistakes of a classification, for each cell of the confusion matrix."""

from __future__ import annotations

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.classification.metrics import confusion_matrix
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["mistakes"]

_MAX_CELLS = 12
_MAX_ROWS = 4


def mistakes(target: ClassificationTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """The cells with the most rows first; see `TaskSpec.mistakes`."""
    statistics = evaluation.statistics[target.name]
    if not evaluation.num_counted(target.name):
        return []
    counts = confusion_matrix(statistics, len(target.classes))
    np.fill_diagonal(counts, 0)
    order = [int(i) for i in np.argsort(-counts, axis=None, kind="stable")[:_MAX_CELLS] if counts.flat[i] > 0]
    truth, predicted = statistics["truth"], statistics["predicted"]
    sure = statistics["probabilities"].max(axis=1)
    groups = []
    for cell in order:
        true, wrong = divmod(cell, len(target.classes))
        rows = np.flatnonzero(statistics["present"] & (truth == true) & (predicted == wrong))
        worst = rows[np.argsort(-sure[rows], kind="stable")[:_MAX_ROWS]]
        listed = [Mistake(position=int(i), words=f"with probability {sure[i]:.2f}") for i in worst]
        title = f"{target.classes[true]}, predicted as {target.classes[wrong]}"
        facets = {"true class": str(target.classes[true]), "predicted": str(target.classes[wrong])}
        groups.append(MistakeGroup(title=title, total=len(rows), mistakes=listed, facets=facets))
    return groups
