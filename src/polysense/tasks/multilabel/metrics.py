"""Metrics of a multilabel target: every label is a yes-or-no question of its own.

Macro means of precision, recall and F1 run over all known labels, 0/0 counting as 0 (as in torchmetrics); those of
AUROC and average precision over the labels for which they are defined, since a label that no row has says nothing about
a ranking.
"""

from __future__ import annotations

import numpy as np

from polysense.core.metric import Metric, Scorer, higher, lower
from polysense.evaluation.metrics.base import Rankings, ratio

__all__ = ["MultilabelScorer", "multilabel_metrics"]

_EPSILON = float(np.finfo(np.float32).eps)


def multilabel_metrics() -> tuple[Metric, ...]:
    """The metrics of a multilabel target, in the order in which they are reported."""
    no_probabilities = "the predictions carry no (finite) probabilities"
    return (
        higher("f1_micro", "F1 over all labels of all rows together."),
        higher("f1_macro", "Mean of the labels' F1; every label counts the same."),
        higher("precision_micro", "Of all labels predicted, the share that is right."),
        higher("recall_micro", "Of all labels that rows have, the share that is found."),
        higher("precision_macro", "Mean over the labels of the share of their predictions that are right."),
        higher("recall_macro", "Mean over the labels of the share of their rows that are found."),
        higher("exact_match", "Share of the rows whose labels are all right.", is_share=True),
        higher("label_accuracy", "Share of all yes-or-no answers that are right; high where labels are rare."),
        higher(
            "auroc",
            "Chance that a row with the label is ranked above one without, mean over the labels.",
            f"no label has both rows that have it and rows that lack it, or {no_probabilities}",
        ),
        higher(
            "average_precision",
            "Area under the precision-recall curve, mean over the labels.",
            f"no row has a label, or {no_probabilities}",
        ),
        lower(
            "log_loss",
            "Mean of -log of the right answer's probability over rows and labels, in nats.",
            no_probabilities,
        ),
    )


class MultilabelScorer(Scorer):
    """All metrics of a multilabel target."""

    def __init__(self, predicted: np.ndarray, probabilities: np.ndarray | None, truth: np.ndarray) -> None:
        """Prepares what does not depend on the resample.

        Args:
            predicted: bool [rows, labels].
            probabilities: float32 [rows, labels], each on its own, or None.
            truth: bool [rows, labels].
        """
        right = predicted == truth
        self._counts = [part.astype(np.float64) for part in (truth & predicted, predicted, truth)]
        self._per_row = np.column_stack([right.all(axis=1), right.mean(axis=1) if right.size else right.sum(axis=1)])
        self._has_probabilities = probabilities is not None and bool(np.isfinite(probabilities).all())
        if probabilities is not None and self._has_probabilities:
            self._rankings = Rankings(probabilities, truth)
            self.num_scores = probabilities.size
            own = np.where(truth, probabilities, 1.0 - probabilities.astype(np.float64))
            loss = -np.log(np.clip(own, _EPSILON, 1.0))
            self._per_row = np.column_stack([self._per_row, loss.sum(axis=1) / max(loss.shape[1], 1)])

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer."""
        total = weights.sum(axis=1)
        empty = np.where(total > 0, 0.0, np.nan)
        hits, predicted, true = (weights @ part for part in self._counts)
        results: dict[str, np.ndarray] = {}
        scores = (("f1", 2 * hits, true + predicted), ("precision", hits, predicted), ("recall", hits, true))
        for name, numerator, denominator in scores:
            results[f"{name}_micro"] = ratio(numerator.sum(axis=1), denominator.sum(axis=1), 0.0) + empty
            results[f"{name}_macro"] = ratio(numerator, denominator, 0.0).mean(axis=1) + empty
        per_row = ratio(weights @ self._per_row, total[:, None])
        results["exact_match"], results["label_accuracy"] = per_row[:, 0], per_row[:, 1]
        if not self._has_probabilities:
            nothing = np.full(len(weights), np.nan)
            return results | dict.fromkeys(("auroc", "average_precision", "log_loss"), nothing)
        results["log_loss"] = per_row[:, 2]
        if rankings:
            results["auroc"], results["average_precision"] = self._rankings(weights)
        return results
