"""What frozen features can tell apart when only few rows are labeled: three classifiers that train no encoder.

- prototypes: the class whose mean lies nearest (Snell et al., "Prototypical Networks for Few-shot Learning", 2017,
  equations 1 and 2, squared Euclidean distance).
- linear_probe: multinomial logistic regression. Its L2 penalty is chosen by cross validation within the labeled rows
  (the log loss of the left-out ones), never on what is tested; with one row per class there is nothing to leave out,
  and the penalty is 1.
- knn: the nearest labeled rows vote, exp(cosine / 0.07) each (Wu et al., "Unsupervised Feature Learning via
  Non-Parametric Instance Discrimination", 2018, section 3.4). As many of them as there are rows per class, at most 20.

All three read features that have the mean of all training rows (labeled or not) taken off and are of one length: the
centering by which simple methods come close to learned ones (Wang et al., "SimpleShot", 2019). It is also what makes a
random encoder a fair rival, whose features all point in nearly the same direction otherwise.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.core.random import permutation

__all__ = ["METHODS", "balanced_accuracy", "centered", "classify", "draw_shots"]

METHODS = ("prototypes", "linear_probe", "knn")

_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_FOLDS = 5
_MANY = 2_000  # labeled rows from which one fifth left out says enough, at a fifth of the time
_MOST_NEIGHBORS = 20
_TEMPERATURE = 0.07


def centered(
    features: Float[np.ndarray, "rows size"], mean: Float[np.ndarray, " size"]
) -> Float[np.ndarray, "rows size"]:
    """Features about a mean, each of length 1; a row that is the mean itself stays 0."""
    result: np.ndarray = features.astype(np.float64) - mean
    result /= np.maximum(np.linalg.norm(result, axis=1, keepdims=True), 1e-12)
    return result


def draw_shots(
    labels: Int[np.ndarray, " rows"], num_classes: int, shots: int | None, *, seed: int, draw: int
) -> Int[np.ndarray, " chosen"]:
    """Positions of so many rows of each class, or of all that it has; ascending.

    A draw of 4 holds the draw of 2 of the same number, so what more rows bring is not what other rows brought.

    Args:
        labels: Class ids.
        num_classes: Ids run over [0, num_classes).
        shots: Rows per class; None takes all rows.
        seed: Of the draws.
        draw: Which of them.
    """
    if shots is None:
        return np.arange(len(labels))
    chosen = []
    for name in range(num_classes):
        own = np.flatnonzero(labels == name)
        chosen.append(own[permutation(len(own), seed, "shots", draw, name)[:shots]])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)


def classify(
    method: str,
    train: Float[np.ndarray, "shots size"],
    labels: Int[np.ndarray, " shots"],
    test: Float[np.ndarray, "rows size"],
    *,
    shots: int | None,
    seed: int = 0,
) -> Int[np.ndarray, " rows"]:
    """The class of each row by one of `METHODS`.

    Args:
        method: Which.
        train: Labeled rows, as `centered` gives them.
        labels: Their class ids; a class without any row is never named.
        test: Rows to classify.
        shots: Rows per class; None: all that there are.
        seed: Of the folds.
    """
    known = np.unique(labels)
    if len(known) < 2:
        return np.full(len(test), known[0] if len(known) else 0, dtype=np.int64)
    if method == "prototypes":
        return _prototypes(train, labels, test, known)
    if method == "knn":
        return _neighbors(train, labels, test, min(shots or _MOST_NEIGHBORS, _MOST_NEIGHBORS))
    assert method == "linear_probe", f"no method {method!r}"
    return _linear_probe(train, labels, test, seed)


def _prototypes(train: np.ndarray, labels: np.ndarray, test: np.ndarray, known: np.ndarray) -> np.ndarray:
    means = np.stack([train[labels == name].mean(axis=0) for name in known])
    # |x - c|^2 without |x|^2, which is the same for every class.
    scores = test @ means.T - np.square(means).sum(axis=1) / 2
    result: np.ndarray = known[scores.argmax(axis=1)]
    return result


def _neighbors(train: np.ndarray, labels: np.ndarray, test: np.ndarray, most: int) -> np.ndarray:
    from sklearn.neighbors import KNeighborsClassifier

    # Of vectors of length 1 the squared distance is 2 - 2 cosine.
    model = KNeighborsClassifier(
        min(most, len(train)), weights=lambda distances: np.exp(-np.square(distances) / (2 * _TEMPERATURE))
    )
    result: np.ndarray = model.fit(train, labels).predict(test)
    return result


def _linear_probe(train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    # Each number about 1 in size, whatever the width, so that one grid of penalties serves all.
    scale = np.sqrt(train.shape[1])
    train, test = train * scale, test * scale
    penalty = _penalty(train, labels, seed)
    result: np.ndarray = _fitted(train, labels, [penalty])[0].predict(test)
    return result


def _penalty(train: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """The L2 penalty under which left-out labeled rows are most likely; the stronger of equal ones."""
    classes, counts = np.unique(labels, return_counts=True)
    folds = min(_FOLDS, int(counts.min()))
    if folds < 2:
        # Some class has one row: leave out rows of the others only, if there are enough of them.
        if len(labels) < 2 * len(classes):
            return 1.0
        folds = _FOLDS
    fold = _folds(labels, folds, seed)
    losses = np.zeros(len(_PENALTIES))
    for left_out in range(1 if len(labels) > _MANY else folds):
        tested = fold == left_out
        if not tested.any():
            continue
        # Of every class some row is left to train on, see `_folds`.
        for i, model in enumerate(_fitted(train[~tested], labels[~tested], _PENALTIES)):
            shares = model.predict_log_proba(train[tested])
            losses[i] -= shares[np.arange(len(shares)), np.searchsorted(classes, labels[tested])].sum()
    return _PENALTIES[len(losses) - 1 - int(losses[::-1].argmin())]


def _folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """A fold for each row, every class spread evenly; a class with one row is never left out."""
    fold = np.full(len(labels), -1)
    for name in np.unique(labels):
        own = np.flatnonzero(labels == name)
        if len(own) > 1:
            fold[own[permutation(len(own), seed, "folds", int(name))]] = np.arange(len(own)) % folds
    return fold


def _fitted(train: np.ndarray, labels: np.ndarray, penalties: Any) -> list[Any]:
    """A logistic regression for each penalty, the strongest first fitted: the next one starts where it ended."""
    # A second that only those who probe should pay.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # which scikit-learn brings

    start: tuple[np.ndarray, np.ndarray] | None = None
    results: dict[float, Any] = {}
    for penalty in sorted(penalties, reverse=True):
        model = LogisticRegression(C=1.0 / penalty, max_iter=200, tol=1e-4, warm_start=True)
        if start is not None:
            model.coef_, model.intercept_ = start[0].copy(), start[1].copy()
        # Problems this small take 5 to 10 times as long on several threads of a busy machine.
        with warnings.catch_warnings(), threadpool_limits(limits=1):
            # Where classes are apart the weights grow with every step; the answer has long been the same.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train, labels)
        start = (model.coef_, model.intercept_)
        results[penalty] = model
    return [results[penalty] for penalty in penalties]


def balanced_accuracy(right: Bool[np.ndarray, " rows"], truth: Int[np.ndarray, " rows"]) -> float:
    """The mean over classes of the share of their rows that are right."""
    counts = np.bincount(truth)
    sums = np.bincount(truth, right.astype(np.float64))
    return float((sums[counts > 0] / counts[counts > 0]).mean())
