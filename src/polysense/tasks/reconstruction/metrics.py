"""Metrics of reconstructed columns: each column's error, and how much of the mean predictor's error is gone.

An error in standard deviations or nats says little alone, so each stands beside that of a predictor that has seen no
input: the training mean of a number, of each pixel and of each band, the training shares of categories and tokens.
skill = 1 - error / its error: 0 is as good as the mean, 1 is perfect, below 0 is worse than not looking. Of numbers and
pixels it is the share of variance explained, of tokens and categories McFadden's (1974) pseudo R2.

A column may be reconstructed from itself, so a second group of metrics masks it: "imputed" is what the row's other
columns make of it, which is what imputing missing cells is worth.
"""

from __future__ import annotations

import math

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, higher, lower
from polysense.evaluation.metrics.base import ratio
from polysense.evaluation.metrics.geometry import effective_rank
from polysense.tasks.reconstruction.record import ReconstructionTarget

__all__ = ["ReconstructionScorer", "reconstruction_metrics"]

_NOT_IMPUTED = "no row has both the column and another one"
_NO_CLASSES = "the column holds no tokens or categories"
_NO_MEAN = "the training mean makes no error, or is not known"


def reconstruction_metrics(target: ReconstructionTarget) -> tuple[Metric, ...]:
    """The metrics of reconstructed columns, in the order in which they are reported."""
    skill = (-math.inf, 1.0)
    results = [
        higher(
            "skill", "Mean over the columns of their skill: 1 - error / the mean predictor's.", _NO_MEAN, bounds=skill
        ),
        higher(
            "imputed_skill",
            "The same, each column masked and imputed from the row's others.",
            _NOT_IMPUTED,
            bounds=skill,
        ),
        higher("accuracy", "Mean over columns of categories or tokens of the share that is right.", _NO_CLASSES),
        higher("imputed_accuracy", "The same, each column masked and imputed from the others.", _NO_CLASSES),
        higher(
            "effective_rank",
            "Along how many directions the codes spread about their mean. Without bounds.",
            "no code is known",
            bounds=(1.0, math.inf),
        ),
    ]
    units = "mean squared, in the column's standard deviations, or nats per token or category"
    for name in target.members:
        imputed = "1 - that error / the mean predictor's on these rows."
        results += [
            lower(f"error/{name}", f"Error of {name!r}: {units}."),
            higher(f"skill/{name}", f"1 - error of {name!r} / the mean predictor's.", _NO_MEAN, bounds=skill),
            higher(f"accuracy/{name}", f"Share of the tokens or categories of {name!r} that is right.", _NO_CLASSES),
            lower(f"imputed_error/{name}", f"Error of {name!r}, masked and imputed from the others.", _NOT_IMPUTED),
            higher(f"imputed_skill/{name}", imputed, _NOT_IMPUTED, bounds=skill),
            higher(f"imputed_accuracy/{name}", f"Share of {name!r} that is right, so imputed.", _NO_CLASSES),
        ]
    return tuple(results)


class ReconstructionScorer(Scorer):
    """All metrics of reconstructed columns."""

    def __init__(self, target: ReconstructionTarget, statistics: Statistics) -> None:
        """Takes each row's errors; for the statistics see `ReconstructionSpec`."""
        rows = np.flatnonzero(statistics["present"])
        errors = {name: values[rows] for name, values in statistics.items()}
        codes = errors["codes"]
        self._rank = effective_rank(codes - codes.mean(axis=0, dtype=np.float64)) if len(codes) else math.nan
        self._members = target.members
        self._own = _Sums(errors["errors"], errors["hits"], errors["mean_errors"])
        self._imputed = _Sums(errors["imputed_errors"], errors["imputed_hits"], errors["mean_errors"])

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer. None of them is a ranking."""
        # Rows that are repeated have one code, which looks like a poorer set of codes: a resample has no value.
        result = {"effective_rank": np.where(weights.max(axis=1, initial=0.0) <= 1, self._rank, np.nan)}
        for prefix, sums in (("", self._own), ("imputed_", self._imputed)):
            error, skill, accuracy = sums(weights)
            result[f"{prefix}skill"], result[f"{prefix}accuracy"] = _mean(skill), _mean(accuracy)
            for index, name in enumerate(self._members):
                result[f"{prefix}error/{name}"] = error[:, index]
                result[f"{prefix}skill/{name}"] = skill[:, index]
                result[f"{prefix}accuracy/{name}"] = accuracy[:, index]
        return result


class _Sums:
    """Errors, skills and accuracies of each column, over the rows that know them."""

    def __init__(self, errors: np.ndarray, correct: np.ndarray, mean_errors: np.ndarray) -> None:
        """Takes [rows, columns] each."""
        known = ~np.isnan(errors)
        beside = known & ~np.isnan(mean_errors)
        right = ~np.isnan(correct)
        parts = (
            np.where(known, errors, 0.0), known,
            np.where(beside, errors, 0.0), np.where(beside, mean_errors, 0.0),
            np.where(right, correct, 0.0), right,
        )  # fmt: skip
        self._parts = np.concatenate([part.astype(np.float64) for part in parts], axis=1)

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each [resamples, columns]; NaN where no row knows it."""
        error, known, own, mean, right, counted = np.split(weights @ self._parts, 6, axis=1)
        return ratio(error, known), 1.0 - ratio(own, mean), ratio(right, counted)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the columns where there is a value; NaN where there is none."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
