"""What a model must beat: knowing only the training labels, and averaging models that each see one column.

A number such as "91% accurate" says nothing where one class has 90% of the rows. The baselines are scored by the same
function on the same rows as the model, so their intervals can stand beside its own. The ensemble of unimodal models is
the harder one: methods that fuse "struggle to surpass even simple baselines, such as ensembles" (arXiv 2411.07335).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.evaluation.evaluator import Evaluation, score
from polysense.tasks.generation.texts import Texts

_NO_END = 1e30  # a segment that ends where its row does, wherever that is

__all__ = [
    "MAJORITY",
    "UNIMODAL_ENSEMBLE",
    "baseline_name",
    "constant_baseline",
    "ensemble_baseline",
    "prior",
    "unimodal_name",
]

MAJORITY = "majority"
"""The key of `constant_baseline` in baselines.json and in comparisons, whatever the task."""

UNIMODAL_ENSEMBLE = "Unimodal ensemble"
"""The mean of the predictions of models that each see one column."""

_CALLED = {
    Task.CONTRASTIVE: "chance",
    Task.GENERATION: "most frequent text",
    Task.REGRESSION: "mean baseline",
    Task.RECONSTRUCTION: "mean baseline",
}


def baseline_name(name: str, target: Target) -> str:
    """What people call a baseline: a search is set beside chance, not beside a majority."""
    return _CALLED.get(target.task, "majority-class baseline") if name == MAJORITY else name


def unimodal_name(column: str) -> str:
    """What a model of one column is called, here and in baselines.json."""
    return f"{column} only (trained separately)"


def prior(target: Target, num_rows: int) -> Prediction:
    """Predicts what the training labels alone say, the same for every row.

    Args:
        target: Classification: the classes' training shares, the most frequent class. Multilabel: the labels' training
            shares, each label that more than half of the rows have. Regression: the training mean. Generation: no
            tokens, since what is said is `Target.most_frequent`. Tagging: no segment, or the class that is more of the
            length than none is and than any other, everywhere. Contrastive: one place for all, so that a search
            finds by chance. Reconstruction: errors that are not known; those of the mean are in an evaluation.
        num_rows: Rows to predict.
    """
    if target.task is Task.GENERATION:
        return Prediction(torch.zeros(num_rows, 0, dtype=torch.int64), padding_id=target.padding_id)
    if target.task is Task.CONTRASTIVE:  # one place for everything: what is found is found by chance
        return Prediction(torch.ones(num_rows, len(target.members), 1))
    if target.task is Task.TAGGING:
        return _prior_segments(target, num_rows)
    if target.task is Task.RECONSTRUCTION:
        return Prediction(torch.zeros(num_rows, 1), errors=torch.full((num_rows, len(target.members)), torch.nan))
    if target.task is Task.REGRESSION:
        means = torch.tensor(target.mean or (0.0,) * target.num_outputs, dtype=torch.float32)
        return Prediction(means.expand(num_rows, -1).clone())
    counts = np.array(target.class_counts or (1,) * len(target.classes), dtype=np.float64)
    if target.task is Task.MULTILABEL:
        shares = np.clip(counts / max(target.num_rows, counts.max(initial=1.0)), 0.0, 1.0)
    else:
        shares = counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / max(len(counts), 1))
    probabilities = torch.tensor(shares, dtype=torch.float32).expand(num_rows, -1).clone()
    if target.task is Task.MULTILABEL:
        return Prediction(probabilities > 0.5, probabilities)
    return Prediction(torch.full((num_rows,), int(shares.argmax()), dtype=torch.int64), probabilities)


def _prior_segments(target: Target, num_rows: int) -> Prediction:
    shares = [1.0 - sum(target.class_lengths), *target.class_lengths]
    best = int(np.argmax(shares))
    records = [(0.0, 0.0, -1.0, 0.0)] + ([(0.0, _NO_END, best - 1.0, shares[best])] if best else [])
    return Prediction(torch.tensor(records).expand(num_rows, -1, -1).clone(), padding_id=-1)


def constant_baseline(evaluation: Evaluation, *, bootstrap: int = 1000, seed: int = 0) -> Evaluation:
    """The majority class, the mean, the mean predictor of columns, or the most frequent text, on an evaluation's rows.

    Args:
        evaluation: Of the model.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
    """
    return score(
        evaluation.targets,
        evaluation.rows,
        {target.name: prior(target, evaluation.num_rows) for target in evaluation.targets},
        evaluation.truths,
        bootstrap=bootstrap,
        confidence=evaluation.confidence,
        seed=seed,
        texts={
            target.name: replace(evaluation.texts[target.name], outputs=[target.most_frequent] * evaluation.num_rows)
            for target in evaluation.targets
            if target.name in evaluation.texts
        },
        restored={name: found.by_mean for name, found in evaluation.restored.items()},
    )


def ensemble_baseline(evaluations: Sequence[Evaluation], *, bootstrap: int = 1000, seed: int = 0) -> Evaluation:
    """The mean of several models' predictions: of their probabilities, or of a regression's values.

    Texts have no mean: in each row the one counts whose model finds it likeliest, per token.

    Args:
        evaluations: Of models of the same targets on the same rows, for example one per column.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
    """
    first = evaluations[0]
    assert all(np.array_equal(first.rows, other.rows) for other in evaluations), "the models saw different rows"
    predictions, texts = {}, {}
    for target in first.targets:
        parts = [evaluation.predictions[target.name] for evaluation in evaluations]
        if target.task is Task.GENERATION:
            predictions[target.name] = prior(target, first.num_rows)
            if all(target.name in evaluation.texts for evaluation in evaluations):
                texts[target.name] = _likeliest(target, evaluations)
            continue
        if target.task is Task.TAGGING:  # segments have no mean, and only one column has any
            predictions[target.name] = parts[0]
            continue
        if target.task is Task.REGRESSION:
            predictions[target.name] = Prediction(torch.stack([part.values for part in parts]).mean(dim=0))
            continue
        probabilities = torch.stack([p.probabilities for p in parts if p.probabilities is not None]).mean(dim=0)
        values = probabilities > 0.5 if target.task is Task.MULTILABEL else probabilities.argmax(dim=1)
        predictions[target.name] = Prediction(values, probabilities)
    return score(
        first.targets,
        first.rows,
        predictions,
        first.truths,
        bootstrap=bootstrap,
        confidence=first.confidence,
        seed=seed,
        texts=texts,
    )


def _likeliest(target: Target, evaluations: Sequence[Evaluation]) -> Texts:
    """In each row the text whose model gives it the highest log probability per token."""
    own = [evaluation.texts[target.name] for evaluation in evaluations]
    means = []
    for evaluation in evaluations:
        prediction = evaluation.predictions[target.name]
        assert prediction.scores is not None, f"{target.name}: a written text has a log probability"
        means.append(prediction.scores / (prediction.values != target.padding_id).sum(dim=1).clamp(min=1))
    best = torch.stack(means).argmax(dim=0).tolist()
    outputs = [(own[model].outputs or ())[row] for row, model in enumerate(best)]
    return Texts(outputs=outputs, references=own[0].references)
