"""What reports of several labeled things in an image show: average precision by class, the worst and best images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polysense.core.schema import Target
from polysense.data.batches.dataset import TableDataset, row_number
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation

__all__ = ["ClassScore", "class_scores", "worst_and_best"]

_NUM_IMAGES = 4
_MAX_CLASSES = 60


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well one class's things are predicted.

    Attributes:
        name: The class.
        num_things: That are to be found.
        precision: Average precision, with its interval.
        at_half: At an IoU of .5.
        baseline: Likewise, of the class-prior baseline; NaN where it was not measured.
    """

    name: str
    num_things: int
    precision: Interval
    at_half: Interval
    baseline: float


def class_scores(
    target: Target, evaluation: Evaluation, baseline: Evaluation | None, written_score: float, things: str
) -> tuple[list[ClassScore], str]:
    """Each class's scores, those with the most things first, and what is to be said beside them.

    Args:
        target: Whose `classes` have ids from 0; the next id is that of any other label.
        evaluation: Of the model.
        baseline: Of the class prior; None where it was not measured.
        written_score: From which on things are drawn and written.
        things: What they are called: "boxes".
    """
    statistics, metrics = evaluation.statistics[target.name], evaluation.metrics[target.name]
    other = len(target.classes)
    truth = np.concatenate([np.zeros((0, 2)), *(each[:, :2] for each in statistics["truth"][statistics["present"]])])
    counts = np.bincount(truth[truth[:, 1] == 0, 0].astype(np.int64), minlength=other + 1)
    scores = [
        ClassScore(
            name=name,
            num_things=int(counts[i]),
            precision=metrics[f"ap/{name}"],
            at_half=metrics[f"ap_50/{name}"],
            baseline=float("nan") if baseline is None else baseline.value(target.name, f"ap_50/{name}"),
        )
        for i in np.argsort(-counts[:other], kind="stable")[:_MAX_CLASSES].tolist()
        for name in (target.classes[i],)
    ]
    notes = [
        f"{things.capitalize()} of a score from {written_score:g} on are drawn and written; the metrics count all."
    ]
    if num_unknown := int(counts[other]):
        notes.append(f"{num_unknown:,} {things} have a label that no training row has, and count as missed.")
    if num_ignored := len(truth) - int(counts.sum()):
        notes.append(f"{num_ignored:,} crowds and difficult {things} are not to be found.")
    return scores, " ".join(notes)


def worst_and_best(
    target: Target, evaluation: Evaluation, dataset: TableDataset, draw: Callable[[int, int], object | None]
) -> list[tuple[str, list[object]]]:
    """Images of the lowest and of the highest average precision, with their captions.

    Args:
        target: What was predicted.
        evaluation: Of the model.
        dataset: The evaluated rows.
        draw: From a row of the statistics and its position in the data set to what is shown; None where nothing can be.
    """
    statistics = evaluation.statistics[target.name]
    scores = statistics["precision"]
    rows = np.flatnonzero(statistics["present"] & (statistics["quality"][:, 1] > 0))
    order = rows[np.argsort(scores[rows], kind="stable")]
    num = min(_NUM_IMAGES, (len(order) + 1) // 2)
    groups: list[tuple[str, list[object]]] = []
    for name, chosen in (("Worst images", order[:num]), ("Best images", order[: num - 1 : -1][:num])):
        overlays: list[object] = []
        for i in chosen.tolist():
            position = int(evaluation.rows[i])
            overlay = draw(i, position)
            if overlay is not None:
                overlays.append((f"row {row_number(dataset, position)}: average precision {scores[i]:.3f}", overlay))
        groups.append((name, overlays))
    return groups
