"""Name the metrics that are read first; the others are in metrics.json and at the foot of the report."""

from __future__ import annotations

from polysense.core.modality import Task
from polysense.core.schema import Target
from polysense.evaluation.metrics.base import MetricInfo
from polysense.evaluation.metrics.compute import metrics_of
from polysense.tasks.generation.metrics.words import are_unspaced
from polysense.tasks.generation.texts import Texts

__all__ = ["headline_metrics"]

_HEADLINES = {
    Task.CLASSIFICATION: ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "log_loss", "ece"),
    Task.MULTILABEL: ("f1_micro", "f1_macro", "average_precision", "auroc", "exact_match", "log_loss"),
    Task.REGRESSION: ("r2", "mae", "rmse", "pearson"),
    Task.RECONSTRUCTION: ("skill", "filled_skill", "accuracy", "filled_accuracy"),
    Task.CONTRASTIVE: ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_average_precision"),
    Task.TAGGING: (
        *(f"{whole}_{name}" for whole in ("entity", "segment") for name in ("f1", "precision", "recall")),
        *(f"{step}_{name}" for step in ("token", "frame") for name in ("f1", "accuracy")),
        "onset_f1",
        "log_loss",
    ),
    Task.GENERATION: ("cider", "bleu", "chrf", "exact_match", "token_f1", "wer", "log_loss"),
}


def headline_metrics(target: Target, texts: Texts | None = None) -> tuple[MetricInfo, ...]:
    """The metrics that are read first.

    Args:
        target: What is predicted.
        texts: Of a target that is a text. Where its script puts no spaces between words, BLEU and the word error rate
            take a sentence for a word: chrF and the character error rate stand there instead.
    """
    names = _HEADLINES[target.task]
    if texts is not None and are_unspaced([text for row in texts.references for text in row]):
        names = tuple("cer" if name == "wer" else name for name in names if name != "bleu")
    return tuple(info for info in metrics_of(target) if info.name in names)
