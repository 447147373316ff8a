"""Training rows of estimators, and the folds by which they choose their settings.

Folds keep groups whole (a speaker, a patient) and classes in proportion. They are a function of the targets, the
groups and the seed alone, and all estimators of a target share them: their out-of-fold scores can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.stratified_folds import stratified_folds

__all__ = ["MISSING_CLASS", "Examples", "FitRows", "OutOfFold", "folds_of", "mean_loss", "row_losses"]

MISSING_CLASS = -10.0
"""The score of a class that no row at hand has: a probability near e^-10."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FitRows:
    """What an estimator is fitted on.

    Attributes:
        features: Per column float32 [rows, size].
        present: [rows, columns], in the estimator's order of columns.
        targets: [rows, 1], a class's id, or [rows, outputs], 0 and 1, or numbers; NaN where it is unknown.
        weights: Of each row.
        folds: The fold of each row, from 0.
        seed: Of what is drawn.
    """

    features: Mapping[str, Float[np.ndarray, "rows _"]]
    present: Bool[np.ndarray, "rows columns"]
    targets: Float[np.ndarray, "rows _"]
    weights: Float[np.ndarray, " rows"]
    folds: Int[np.ndarray, " rows"]
    seed: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """The same as a matrix of inputs; every row has a column and a target.

    Attributes:
        design: The inputs.
        targets: As in `FitRows`.
        weights: With a mean of 1.
        folds: The fold of each row.
        blocks: The features of each column among the inputs.
        kind: What scores are.
        num_outputs: How many scores a row has.
        seed: Of what is drawn.
    """

    design: Float[np.ndarray, "rows inputs"]
    targets: Float[np.ndarray, "rows _"]
    weights: Float[np.ndarray, " rows"]
    folds: Int[np.ndarray, " rows"]
    blocks: tuple[slice, ...]
    kind: Literal["choice", "labels", "numbers"]
    num_outputs: int
    seed: int

    def __len__(self) -> int:
        return len(self.design)

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Per fold the positions that are fitted on, and those that are judged; none where one fold is all there is."""
        folds = np.unique(self.folds)
        for fold in folds if len(folds) > 1 else ():
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)


@dataclass(frozen=True, eq=False, kw_only=True)
class OutOfFold:
    """Scores of training rows by estimators that were not fitted on them.

    Attributes:
        scores: Per estimator [rows, outputs]; NaN in rows that it says nothing of.
        truth: Of the rows.
        weights: Of each row.
    """

    scores: Mapping[str, Float[np.ndarray, "rows outputs"]]
    truth: Truth
    weights: Float[Tensor, " rows"]


def folds_of(
    targets: Float[np.ndarray, "rows _"],
    kind: Literal["choice", "labels", "numbers"],
    groups: Sequence[object] | None,
    num_folds: int,
    seed: int,
) -> Int[np.ndarray, " rows"]:
    """The fold of each row.

    Args:
        targets: As in `FitRows`.
        kind: What they are.
        groups: Per row what must stay together; None is a group of its own.
        num_folds: How many at most; there are fewer where there are fewer groups.
        seed: Another seed, other folds.
    """
    num = len(targets)
    generator = np.random.default_rng(seed)
    if kind == "choice":
        classes = np.where(np.isfinite(targets[:, 0]), targets[:, 0], -1).astype(np.int64)
    elif kind == "numbers":  # in ten classes of equal size, so that every fold has large and small ones
        order = np.argsort(np.argsort(targets[:, 0], kind="stable"), kind="stable")
        classes = order * 10 // max(num, 1)
    else:
        classes = np.zeros(num, dtype=np.int64)
    if groups is None or all(group is None for group in groups):
        return stratified_folds(classes, None, num_folds, generator)
    index: dict[object, int] = {}
    names = [("row", i) if group is None else ("group", group) for i, group in enumerate(groups)]
    ids = np.array([index.setdefault(name, len(index)) for name in names], dtype=np.int64)
    return stratified_folds(classes, ids, num_folds, generator)


def row_losses(
    scores: Float[np.ndarray, "rows outputs"],
    targets: Float[np.ndarray, "rows _"],
    kind: Literal["choice", "labels", "numbers"],
) -> Float[np.ndarray, " rows"]:
    """Log loss, mean binary log loss or squared error of each row; 0 where its target is unknown."""
    known = np.isfinite(targets)
    safe = np.where(known, targets, 0.0)
    if kind == "choice":
        peak = scores.max(axis=1)
        total = peak + np.log(np.exp(scores - peak[:, None]).sum(axis=1))
        own = np.take_along_axis(scores, safe[:, :1].astype(np.int64), axis=1)[:, 0]
        losses: np.ndarray = np.where(known[:, 0], total - own, 0.0)
        return losses
    each = np.logaddexp(0.0, scores) - safe * scores if kind == "labels" else (scores - safe) ** 2
    mean: np.ndarray = np.where(known, each, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return mean


def mean_loss(scores: np.ndarray, examples: Examples, rows: Any = slice(None)) -> float:
    """The weighted mean of some examples' losses."""
    losses = row_losses(scores, examples.targets[rows], examples.kind)
    weights = examples.weights[rows]
    return float((losses * weights).sum() / max(weights.sum(), 1e-12))
