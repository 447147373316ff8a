"""A learner for labeling: a linear model of frozen features that is fitted anew within seconds of every label.

Logistic regression with a penalty of squares (ridge regression for numbers), as the linear estimator and the few-shot
probe have it. How strong the penalty is depends on how many labels there are, so cross-validation within the labeled
rows chooses it, again whenever there are half as many more. Everything is a function of the updates and the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.core.random import generator
from polysense.errors import ConfigError, TableError
from polysense.nn.estimators.base import ScoreKind
from polysense.nn.estimators.examples import MISSING_CLASS, folds_of, row_losses
from polysense.nn.estimators.inputs import LinearInputs, principal_axes
from polysense.nn.estimators.logistic import LogisticPath
from polysense.workflows.labeling.row_features import RowFeatures

__all__ = ["Learner"]

_STRENGTHS = tuple(0.1 * 4.0**i for i in range(7))
"""1 / penalty, over rows of unit norm, as of the linear estimator."""

_USUAL = _STRENGTHS[2]
_FEWEST = 20  # labels from which a fifth left out chooses better than a guess
_GROWTH = 1.5
_FOLDS, _DECIDING = 5, 200  # labeled rows left out that say enough: then not all folds are fitted
_PATIENCE = 2
_ROUGH, _EXACT = 1e-2, 1e-4

_Ridge: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]
"""Spectrum, its vectors, the moment along them, the rows' center and the labels' mean."""

_Fitted: TypeAlias = tuple[Float[np.ndarray, "axes outputs"], Float[np.ndarray, " outputs"]]


class Learner:
    """Learns labels of some rows, and says what it thinks of all.

    Args:
        features: [rows, size], what is not finite is missing; or scaled already, where several learners share them.
        kind: What labels are: one of several classes, yes or no for each of several, or numbers.
        num_outputs: Classes, or values of a label.
        seed: Of the folds that the penalty is chosen by.

    Attributes:
        features: Scaled.
        kind: As given.
        num_outputs: As given.
        strength: 1 / penalty of the last fit, over rows of unit norm.
    """

    def __init__(
        self,
        features: Float[np.ndarray, "rows size"] | RowFeatures,
        *,
        num_outputs: int,
        kind: ScoreKind = "choice",
        seed: int = 0,
    ) -> None:
        if num_outputs < 1:
            raise ConfigError(f"num_outputs: found {num_outputs}, expected at least 1")
        self.features = features if isinstance(features, RowFeatures) else RowFeatures(features)
        self.kind, self.num_outputs, self.strength = kind, num_outputs, _USUAL
        self._seed = seed
        width = 1 if kind == "choice" else num_outputs
        self._labels = np.full((len(self.features), width), np.nan)
        self._chosen_at = 0
        self._fitted: _Fitted | None = None
        self._scores: Float[np.ndarray, "rows outputs"] | None = None

    def __len__(self) -> int:
        return len(self.features)

    # --- labels ----------------------------------------------------------------------------------------------------

    @property
    def is_labeled(self) -> Bool[np.ndarray, " rows"]:
        """Which rows have a label."""
        labeled: np.ndarray = np.isfinite(self._labels).any(axis=1)
        return labeled

    @property
    def num_labeled(self) -> int:
        """How many rows have a label."""
        return int(self.is_labeled.sum())

    @property
    def can_tell(self) -> bool:
        """Whether labels differ at all; before that every row has the same probabilities."""
        known = self._labels[self.is_labeled]
        return len(known) > 1 and any(len(np.unique(column[np.isfinite(column)])) > 1 for column in known.T)

    def update(self, rows: Sequence[int] | Int[np.ndarray, " new"], labels: Sequence[object] | np.ndarray) -> None:
        """Takes labels and fits anew.

        Args:
            rows: Their numbers.
            labels: [new] or [new, values]: a class's number, 0 or 1 for each of several, or numbers. A row that has a
                label already gets the new one; NaN takes it away.

        Raises:
            TableError: A row does not exist, or a label can't be one.
        """
        rows = np.asarray(rows, dtype=np.int64).reshape(-1)
        try:
            values = np.asarray(labels, dtype=np.float64).reshape(len(rows), -1 if len(rows) else self._labels.shape[1])
        except (TypeError, ValueError):
            raise TableError(
                f"labels: found {labels!r:.80}, expected {self._labels.shape[1]} numbers of each of {len(rows):,} rows"
            ) from None
        self._check(rows, values)
        self._labels[rows] = values
        self._fitted = self._scores = None

    def _check(self, rows: np.ndarray, values: np.ndarray) -> None:
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            wrong = int(rows[(rows < 0) | (rows >= len(self))][0])
            raise TableError(f"rows: found {wrong}, expected numbers from 0 to {len(self) - 1}")
        width = self._labels.shape[1]
        if len(rows) and values.shape[1] != width:
            raise TableError(f"labels: found {values.shape[1]} values of a row, expected {width}")
        known = values[~np.isnan(values)]
        if np.isinf(known).any():
            raise TableError("labels: found an infinite number; expected finite ones, or NaN for no label")
        if self.kind == "numbers":
            return
        top = self.num_outputs - 1 if self.kind == "choice" else 1
        wrong_values = known[(known < 0) | (known > top) | (known != np.floor(known))]
        if len(wrong_values):
            raise TableError(f"labels: found {wrong_values[0]:g}, expected whole numbers from 0 to {top}")

    # --- what it says ------------------------------------------------------------------------------------------------

    def scores(self, rows: Float[np.ndarray, "others scaled"] | None = None) -> Float[np.ndarray, "_ outputs"]:
        """Logits, or numbers in their own units.

        Args:
            rows: Scaled features of other rows (`RowFeatures.transform`); None: of its own.
        """
        if self._fitted is None:
            self._fit()
        assert self._fitted is not None
        weight, bias = self._fitted
        if rows is not None:
            return np.asarray(rows @ weight.astype(np.float32) + bias)
        if self._scores is None:
            self._scores = np.asarray(self.features.values @ weight.astype(np.float32) + bias)
        return self._scores

    def probabilities(self) -> Float[np.ndarray, "rows outputs"]:
        """Of each class, which sum to 1; or of each yes.

        Raises:
            ConfigError: Labels are numbers.
        """
        if self.kind == "numbers":
            raise ConfigError("labels are numbers, of which a linear model has no probabilities; use predictions")
        scores = self.scores()
        if self.kind == "labels":
            return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def predictions(self) -> np.ndarray:
        """The class's number [rows], 0 or 1 for each of several [rows, outputs], or numbers [rows, outputs]."""
        scores = self.scores()
        if self.kind == "numbers":
            return scores
        return scores.argmax(axis=1) if self.kind == "choice" else (scores > 0).astype(np.int64)

    # --- fitting -----------------------------------------------------------------------------------------------------

    def _fit(self) -> None:
        rows = np.flatnonzero(self.is_labeled)
        width = self.features.values.shape[1]
        if not len(rows):
            self._fitted = np.zeros((width, self.num_outputs)), np.zeros(self.num_outputs)
            return
        values, labels = self.features.values[rows].astype(np.float64), self._labels[rows]
        center = values.mean(axis=0)
        rotated, axes = principal_axes(values - center)
        stage = int(np.floor(np.log(max(len(rows), 1)) / np.log(_GROWTH)))
        if stage != self._chosen_at:
            self.strength = self._best_strength(rotated, labels) if len(rows) >= _FEWEST else _USUAL
            self._chosen_at = stage
        weight, bias = self._path(rotated, labels)(self.strength, _EXACT)
        weight = axes @ weight
        self._fitted = weight, bias - center @ weight

    def _best_strength(self, rotated: np.ndarray, labels: np.ndarray) -> float:
        """The strength with the least loss of labeled rows that were left out."""
        seed = int(generator(self._seed, "label folds").integers(2**31))
        folds = folds_of(labels, self.kind, None, _FOLDS, seed)
        deciding = range(min(_FOLDS, max(1, -(-_DECIDING * _FOLDS // len(labels)))))
        parts = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in deciding]
        paths = [self._path(rotated[train], labels[train]) for train, _ in parts]
        best, lowest, waited = _USUAL, np.inf, 0
        for strength in _STRENGTHS:
            total = 0.0
            for (_, test), path in zip(parts, paths, strict=True):
                weight, bias = path(strength, _ROUGH)
                total += float(row_losses(rotated[test] @ weight + bias, labels[test], self.kind).sum())
            waited += 1
            if total < lowest:
                best, lowest, waited = strength, total, 0
            if waited == _PATIENCE:
                break
        return best

    def _path(self, rotated: np.ndarray, labels: np.ndarray) -> Callable[[float, float], _Fitted]:
        """The fit of some rows by strength and tolerance; strengths from the lowest on."""
        return self._ridge(rotated, labels) if self.kind == "numbers" else self._logistic(rotated, labels)

    def _ridge(self, rotated: np.ndarray, labels: np.ndarray) -> Callable[[float, float], _Fitted]:
        parts: list[_Ridge | None] = []
        for column in labels.T:
            known = np.isfinite(column)
            if not known.any():
                parts.append(None)
                continue
            center, mean = rotated[known].mean(axis=0), float(column[known].mean())
            inputs = rotated[known] - center
            spectrum, vectors = np.linalg.eigh(inputs.T @ inputs)
            moment = vectors.T @ (inputs.T @ (column[known] - mean))
            parts.append((np.maximum(spectrum, 0.0), vectors, moment, center, mean))

        def fitted(strength: float, tolerance: float) -> _Fitted:
            del tolerance
            weight, bias = np.zeros((rotated.shape[1], self.num_outputs)), np.zeros(self.num_outputs)
            # The logistic loss has a curvature of at most a quarter, so this is the same grid.
            penalty = 4 * self.features.norm / strength
            for output, part in enumerate(parts):
                if part is None:
                    continue
                spectrum, vectors, moment, center, mean = part
                weight[:, output] = vectors @ (moment / (spectrum + penalty))
                bias[output] = mean - center @ weight[:, output]
            return weight, bias

        return fitted

    def _logistic(self, rotated: np.ndarray, labels: np.ndarray) -> Callable[[float, float], _Fitted]:
        parts = []
        for column in labels.T:
            known = np.flatnonzero(np.isfinite(column))
            classes, targets = np.unique(column[known].astype(np.int64), return_inverse=True)
            path = None
            if len(classes) > 1 and rotated.shape[1]:
                path = LogisticPath(LinearInputs(rotated[known]), targets, np.ones(len(known)))
            parts.append((classes, np.bincount(targets, minlength=len(classes)), path))

        def fitted(strength: float, tolerance: float) -> _Fitted:
            weight, bias = np.zeros((rotated.shape[1], self.num_outputs)), np.zeros(self.num_outputs)
            penalty = self.features.norm / strength
            for output, (classes, counts, path) in enumerate(parts):
                own, intercept = (None, None) if path is None else path.fitted(penalty, tolerance)
                if self.kind == "labels":
                    if own is not None and intercept is not None:
                        weight[:, output], bias[output] = own[:, 0], intercept[0]
                    else:  # as if there had been one more of either
                        yes, no = (counts[classes == value].sum() for value in (1, 0))
                        bias[output] = np.log((yes + 1) / (no + 1))
                    continue
                bias[:] = MISSING_CLASS
                if own is None or intercept is None:
                    bias[classes] = np.log(counts / counts.sum())
                    continue
                halves = np.array([-0.5, 0.5]) if len(classes) == 2 else np.ones(len(classes))
                weight[:, classes], bias[classes] = own * halves, intercept * halves
            return weight, bias

        return fitted
