"""Metrics of a classification: counts, rankings and how far the probabilities can be believed.

What the means run over, since libraries differ:
- precision, recall and F1 macro: classes that occur among the labels or the predictions, 0/0 counting as 0
  (torchmetrics).
- balanced accuracy: classes that occur among the labels, so a class that is only predicted does not lower it
  (scikit-learn; torchmetrics counts that class as 0).
- AUROC and average precision, one class against the rest: classes for which they are defined. torchmetrics 1.9 counts a
  class that is absent from the labels as 0, which blames the model for a gap in the test set.
"""

from __future__ import annotations

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, higher, lower
from polysense.evaluation.metrics.base import Grouping, Rankings, ratio

__all__ = ["NUM_BINS", "ClassificationScorer", "classification_metrics", "confusion_matrix"]

NUM_BINS = 15
"""Bins of the expected calibration error (Guo et al., "On Calibration of Modern Neural Networks", 2017, section 5)."""

# A probability of exactly 0 would make one row's loss infinite; scikit-learn clips at the type's epsilon as well.
_EPSILON = float(np.finfo(np.float32).eps)


def classification_metrics(binary: bool) -> tuple[Metric, ...]:
    """The metrics of a classification, in the order in which they are reported."""
    one_class = "the rows' labels are all of one class"
    no_probabilities = "the predictions carry no (finite) probabilities"
    positive = (
        higher("precision", "Of the rows predicted to be positive (the second class), the share that is."),
        higher("recall", "Of the positive rows (the second class), the share that is found."),
        higher("f1", "Harmonic mean of the positive (second) class's precision and recall."),
    )
    against = "the positive (second) class" if binary else "each class against the rest, mean over the classes"
    squared = "positive class's probability." if binary else "probabilities, summed over the classes."
    return (
        higher("accuracy", "Share of the rows whose most probable class is the right one.", is_share=True),
        higher("balanced_accuracy", "Mean over the classes of the share of their rows that are recognized."),
        higher("f1_macro", "Mean of the classes' F1; every class counts the same."),
        higher("f1_weighted", "Mean of the classes' F1, weighted by their rows."),
        higher("precision_macro", "Mean over the classes of the share of their predictions that are right."),
        higher("recall_macro", "Mean over the classes that occur or are predicted of the share that is recognized."),
        higher("f1_micro", "F1 over all rows together; the accuracy, where a row has one class.", is_share=True),
        higher(
            "precision_micro",
            "Precision over all rows together; the accuracy, where a row has one class.",
            is_share=True,
        ),
        higher(
            "recall_micro", "Recall over all rows together; the accuracy, where a row has one class.", is_share=True
        ),
        *(positive if binary else ()),
        higher(
            "auroc",
            f"Chance that a positive row is ranked above a negative one: {against}.",
            f"{one_class}, or {no_probabilities}",
        ),
        higher(
            "average_precision",
            f"Area under the precision-recall curve: {against}.",
            f"no row has a positive label, or {no_probabilities}",
        ),
        lower("log_loss", "Mean of -log of the right class's probability, in nats.", no_probabilities),
        lower("brier", f"Mean squared error of the {squared}", no_probabilities, bounds=(0.0, 1.0 if binary else 2.0)),
        lower(
            "ece",
            f"Expected calibration error: gap between confidence and accuracy, in {NUM_BINS} bins.",
            no_probabilities,
            bounds=(0.0, 1.0),
        ),
        lower(
            "ece_debiased",
            f"Root mean squared gap between confidence and accuracy, in {NUM_BINS} bins, less what chance alone makes.",
            no_probabilities,
            bounds=(0.0, 1.0),
        ),
    )


class ClassificationScorer(Scorer):
    """All metrics of a classification."""

    def __init__(self, predicted: np.ndarray, probabilities: np.ndarray | None, truth: np.ndarray, num_classes: int):
        """Prepares what does not depend on the resample.

        Args:
            predicted: int [rows], class ids.
            probabilities: float32 [rows, classes], or None.
            truth: int [rows], class ids.
            num_classes: All known classes, whether they occur or not.
        """
        correct = predicted == truth
        self._binary = num_classes == 2
        self._true = Grouping(truth, num_classes)
        self._predicted = Grouping(predicted, num_classes)
        self._hits = Grouping(truth, num_classes, np.flatnonzero(correct))
        self._per_row: np.ndarray | None = None
        if probabilities is None or not np.isfinite(probabilities).all():
            return
        rows = np.arange(len(truth))
        positive = truth[:, None] == np.arange(num_classes)
        chosen = slice(1, 2) if self._binary else slice(None)
        self._rankings = Rankings(probabilities[:, chosen], positive[:, chosen])
        self.num_scores = probabilities[:, chosen].size
        exact = probabilities.astype(np.float64)
        log_loss = -np.log(np.clip(exact[rows, truth], _EPSILON, 1.0))
        brier = ((exact - positive) ** 2)[:, chosen].sum(axis=1)
        confidence = probabilities.max(axis=1, initial=0.0)
        # A bin takes its lower edge and not its upper one, and a confidence of exactly 1 has a bin of its own, as in
        # torchmetrics: a saturated model's certain rows are then compared with how often they are right. The edges have
        # the confidences' precision, else 0.2 in float32 would be above the edge 0.2 and 0.6 below its own.
        edges = np.linspace(0, 1, NUM_BINS + 1, dtype=confidence.dtype)
        bins = np.searchsorted(edges, confidence, side="right") - 1
        # |sum over a bin of (accuracy - confidence)|, added up, is the bins' gaps weighted by their share of rows.
        gap = (correct - confidence.astype(np.float64))[:, None]
        self._bins = (bins[:, None] == np.arange(NUM_BINS + 1)).astype(np.float64)
        binned, self._squares = self._bins * gap, self._bins * gap**2
        self._per_row = np.column_stack([log_loss, brier, binned])

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer."""
        true, predicted, hits = self._true(weights), self._predicted(weights), self._hits(weights)
        total = true.sum(axis=1)
        accuracy = ratio(hits.sum(axis=1), total)
        precision, recall = ratio(hits, predicted, 0.0), ratio(hits, true, 0.0)
        f1 = ratio(2 * hits, true + predicted, 0.0)
        observed = (true + predicted) > 0
        num_observed = observed.sum(axis=1)
        results = {
            "accuracy": accuracy,
            "balanced_accuracy": ratio(recall.sum(axis=1), (true > 0).sum(axis=1)),
            "f1_macro": ratio(f1.sum(axis=1), num_observed),
            "f1_weighted": ratio((f1 * true).sum(axis=1), total),
            "precision_macro": ratio(precision.sum(axis=1), num_observed),
            "recall_macro": ratio(recall.sum(axis=1), num_observed),
            "f1_micro": accuracy,
            "precision_micro": accuracy,
            "recall_micro": accuracy,
        }
        if self._binary:
            empty = np.where(total > 0, 0.0, np.nan)
            results |= {"precision": precision[:, 1] + empty, "recall": recall[:, 1] + empty, "f1": f1[:, 1] + empty}
        nothing = np.full(len(weights), np.nan)
        if self._per_row is None:
            return results | dict.fromkeys(
                ("auroc", "average_precision", "log_loss", "brier", "ece", "ece_debiased"), nothing
            )
        if rankings:
            results["auroc"], results["average_precision"] = self._rankings(weights)
        sums = weights @ self._per_row
        results["log_loss"] = ratio(sums[:, 0], total)
        results["brier"] = ratio(sums[:, 1], total)
        results["ece"] = ratio(np.abs(sums[:, 2:]).sum(axis=1), total)
        results["ece_debiased"] = self._debiased(weights, sums[:, 2:])
        return results

    def _debiased(self, weights: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        """The root of the squared gaps less the variance that chance gives them; 0 where that is more.

        Source: Kumar, Liang, Ma, "Verified Uncertainty Calibration", NeurIPS 2019, definition 5.1. There a bin's mean
        has the variance s^2 / (n - 1); of weighted rows it is s^2 * sum(w^2) / (sum(w)^2 - sum(w^2)), which is the same
        for weights of 1 and twice as much for a bootstrap resample, whose gaps hold the chance of both draws.
        """
        inside, squares = weights @ self._bins, weights @ self._squares
        of_weights = (weights**2) @ self._bins
        mean = ratio(gaps, inside, 0.0)
        variance = np.maximum(ratio(squares, inside, 0.0) - mean**2, 0.0)
        noise = variance * ratio(of_weights, inside**2 - of_weights, 0.0)
        alone = inside**2 - of_weights <= 0  # one row says nothing of its own variance
        squared = np.where(alone, 0.0, mean**2 - noise)
        result: np.ndarray = np.sqrt(np.maximum(ratio((inside * squared).sum(axis=1), inside.sum(axis=1)), 0.0))
        return result


def confusion_matrix(statistics: Statistics, num_classes: int) -> np.ndarray:
    """Counts of the rows by true class (first axis) and predicted class; int64 [classes, classes].

    Args:
        statistics: See `ClassificationSpec`.
        num_classes: All known classes.
    """
    rows = np.flatnonzero(statistics["present"])
    pairs = statistics["truth"][rows].astype(np.int64) * num_classes + statistics["predicted"][rows]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
