"""One way to score any target."""

from __future__ import annotations

import numpy as np

from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.evaluation.metrics.base import MetricInfo, Scorer
from polysense.tasks.classification.metrics import ClassificationScorer, classification_metrics
from polysense.tasks.generation.metrics.scorer import GenerationScorer, generation_metrics
from polysense.tasks.generation.texts import Texts
from polysense.tasks.multilabel.metrics import MultilabelScorer, multilabel_metrics
from polysense.tasks.reconstruction.metrics import ReconstructionScorer, reconstruction_metrics
from polysense.tasks.reconstruction.reconstructions import Reconstructions
from polysense.tasks.regression.metrics import RegressionScorer, regression_metrics
from polysense.tasks.retrieval.metrics import RetrievalScorer, retrieval_metrics
from polysense.tasks.tagging.metrics import TaggingScorer, tagging_metrics, tagging_primary

__all__ = ["compute", "confusion_matrix", "metrics_of", "primary_metric", "scorer", "selection_metric"]

# exp(entropy) of the class shares over the number of classes: 1 = even; 80/20 in two classes is 0.82, 85/15 is 0.76.
_BALANCED = 0.8
_SHORT_TEXT = 4  # tokens, the end among them


def metrics_of(target: Target) -> tuple[MetricInfo, ...]:
    """What is measured of a target, in the order in which it is reported."""
    if target.task is Task.CLASSIFICATION:
        return classification_metrics(target.is_binary)
    if target.task is Task.MULTILABEL:
        return multilabel_metrics()
    if target.task is Task.GENERATION:
        return generation_metrics()
    if target.task is Task.CONTRASTIVE:
        return retrieval_metrics(target.members, target.anchor)
    if target.task is Task.TAGGING:
        return tagging_metrics(target)
    if target.task is Task.RECONSTRUCTION:
        return reconstruction_metrics(target)
    return regression_metrics(target.columns)


def primary_metric(target: Target) -> MetricInfo:
    """The headline: accuracy, micro F1, R2; of texts chrF, or of short ones the share that is exactly right."""
    names = {
        Task.CLASSIFICATION: "accuracy",
        Task.MULTILABEL: "f1_micro",
        Task.REGRESSION: "r2",
        Task.CONTRASTIVE: "recall_at_1",
        Task.RECONSTRUCTION: "skill",
        # Answers of a word or two are right or wrong; of longer texts hardly one is right to the letter.
        Task.TAGGING: tagging_primary(target),
        Task.GENERATION: "exact_match" if target.typical_length <= _SHORT_TEXT else "chrf",
    }
    return _named(target, names[target.task])


def selection_metric(target: Target) -> MetricInfo:
    """What to select the best checkpoint by, when nobody has said.

    Accuracy, but macro F1 where the training classes are uneven (fewer than 80% as many effective classes, exp of the
    entropy of their shares, as there are classes): there a model that never names the rare classes looks good.
    Average precision for a multilabel target (no threshold in it), R2 for a regression. The share of the true tokens
    that are the likeliest for a text, which needs nothing written: as with classes, their log loss grows worse with a
    model's confidence long before what it writes does. The headline for segments. The mean reciprocal rank of a
    search: the share of rows that find their own at once moves in coarse steps on a small split. The headline for
    restored columns.
    """
    if target.task is Task.GENERATION:
        return _named(target, "token_accuracy")
    if target.task is Task.TAGGING:
        return primary_metric(target)
    if target.task is Task.CONTRASTIVE:
        return _named(target, "mean_reciprocal_rank")
    if target.task is Task.RECONSTRUCTION:
        return primary_metric(target)
    if target.task is Task.CLASSIFICATION:
        shares = np.array(target.class_counts, dtype=np.float64)
        shares = shares[shares > 0] / max(shares.sum(), 1.0)
        effective = float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else float(len(target.classes))
        return _named(target, "accuracy" if effective >= _BALANCED * len(target.classes) else "f1_macro")
    return _named(target, "average_precision" if target.task is Task.MULTILABEL else "r2")


def scorer(
    target: Target,
    prediction: Prediction,
    values: np.ndarray,
    present: np.ndarray,
    texts: Texts | None = None,
    restored: Reconstructions | None = None,
) -> Scorer:
    """Prepares a target's metrics for the rows that have it.

    Args:
        target: What was predicted.
        prediction: For the same rows, in main memory.
        values: The truth: int64 [rows] (classification), float32 [rows, outputs], or int64 [rows, keys] (contrastive).
        present: bool [rows]; the others are counted out.
        texts: For the same rows, where the target is a text.
        restored: For the same rows, where the target is columns.
    """
    rows = np.flatnonzero(present)
    if target.task is Task.RECONSTRUCTION:
        if restored is None:
            assert prediction.errors is not None, f"{target.name}: what is restored has errors"
            restored = Reconstructions.of_errors(prediction.errors.float().numpy())
        return ReconstructionScorer(target, restored[rows], prediction.values.float().numpy()[rows])
    if target.task is Task.GENERATION:
        likelihood = None if prediction.likelihood is None else prediction.likelihood.float().numpy()[rows]
        return GenerationScorer(texts, rows, likelihood)
    if target.task is Task.TAGGING:
        likelihood = None if prediction.likelihood is None else prediction.likelihood.float().numpy()[rows]
        return TaggingScorer(target, prediction.values.float().numpy()[rows], values[rows], likelihood)
    if target.task is Task.CONTRASTIVE:  # rows with one column alone don't look, and may be found
        return RetrievalScorer(prediction.values.float().numpy(), values, present, target.members, target.anchor)
    truth, tensor = values[rows], prediction.values
    # A model under autocast may give bfloat16, which numpy lacks.
    predicted: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()[rows]
    probabilities = None if prediction.probabilities is None else prediction.probabilities.float().numpy()[rows]
    if target.task is Task.CLASSIFICATION:
        return ClassificationScorer(predicted, probabilities, truth, len(target.classes))
    if target.task is Task.MULTILABEL:
        return MultilabelScorer(predicted.astype(bool), probabilities, truth > 0.5)
    return RegressionScorer(predicted, truth, target.columns)


def compute(
    target: Target,
    prediction: Prediction,
    values: np.ndarray,
    present: np.ndarray,
    *,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every metric of a target.

    Args:
        target: What was predicted.
        prediction: For the same rows, in main memory.
        values: The truth: int64 [rows] (classification) or float32 [rows, outputs].
        present: bool [rows]; the others are counted out.
        weights: [resamples, rows that are present], how often each counts; all once by default. Memory grows with
            it: pass a thousand resamples of many rows in parts (`bootstrap.multiplicities` does).

    Returns:
        Per metric float64 [resamples] ([1] without weights), NaN where it is undefined; the keys are those of
        `metrics_of(target)`.
    """
    if weights is None:
        weights = np.ones((1, int(np.count_nonzero(present))))
    found = scorer(target, prediction, values, present)(weights)
    return {info.name: found[info.name] for info in metrics_of(target)}


def confusion_matrix(target: Target, prediction: Prediction, values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Counts of a classification's rows by true class (first axis) and predicted class; int64 [classes, classes]."""
    num_classes = len(target.classes)
    rows = np.flatnonzero(present)
    pairs = values[rows].astype(np.int64) * num_classes + prediction.values.numpy()[rows]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _named(target: Target, name: str) -> MetricInfo:
    return next(info for info in metrics_of(target) if info.name == name)
