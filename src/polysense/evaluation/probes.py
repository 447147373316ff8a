"""What frozen features can tell apart when only few rows are labeled: classifiers that train no encoder.

- prototypes: the class whose mean lies nearest (Snell et al., "Prototypical Networks for Few-shot Learning", 2017,
  equations 1 and 2, squared Euclidean distance).
- linear_probe: multinomial logistic regression. Its L2 penalty is chosen by cross validation within the labeled rows
  (the log loss of the left-out ones), never on what is tested; with one row per class there is nothing to leave out,
  and the penalty is 1.
- knn: the nearest labeled rows vote, exp(cosine / 0.07) each (Wu et al., "Unsupervised Feature Learning via
  Non-Parametric Instance Discrimination", 2018, section 3.4). As many of them as there are rows per class, at most 20.

Where classes have unequal numbers of labeled rows, more of them look at what made-up rows are worth beside weights:

- balanced_probe: the linear probe in which all classes weigh the same.
- smote_probe, gan_probe: the linear probe on the labeled rows and on made-up ones, by which every class has as many
  rows as the most frequent one (`evaluation.synthesis`).
- smote_only, gan_only: on made-up rows alone, as many of each class as there are labeled ones, and tested on real ones
  ("train on synthetic, test on real": Esteban et al., "Real-valued (Medical) Time Series Generation with Recurrent
  Conditional GANs", 2017, section 4.2). Near the linear probe's score they hold what the real rows hold.

All of them read features that have the mean of all training rows (labeled or not) taken off and are of one length: the
centering by which simple methods come close to learned ones (Wang et al., "SimpleShot", 2019). It is also what makes a
random encoder a fair rival, whose features all point in nearly the same direction otherwise.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.core.random import permutation
from polysense.evaluation.synthesis.gan import generate
from polysense.evaluation.synthesis.smote import smote

__all__ = ["ALL_METHODS", "METHODS", "balanced_accuracy", "centered", "classify", "draw_shots"]

METHODS = ("prototypes", "linear_probe", "knn")
ALL_METHODS = (*METHODS, "balanced_probe", "smote_probe", "smote_only", "gan_probe", "gan_only")

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
    """The class of each row by one of the methods.

    Args:
        method: Which, of `ALL_METHODS`.
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
    maker, _, use = method.partition("_")
    if maker in _MAKERS:
        return _linear_probe(train, labels, test, seed, *_synthetic(maker, train, labels, seed, only=use == "only"))
    assert method in ("linear_probe", "balanced_probe"), f"no method {method!r}"
    return _linear_probe(train, labels, test, seed, balanced=method == "balanced_probe")


_MAKERS = ("smote", "gan")


def _synthetic(
    maker: str, train: np.ndarray, labels: np.ndarray, seed: int, *, only: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are fitted on: all made up, or the real ones with what fills up rarer classes."""
    counts = np.bincount(labels)
    missing = counts if only else np.where(counts > 0, counts.max() - counts, 0)
    requested = np.repeat(np.arange(len(counts)), missing)
    if not len(requested):
        return train, labels
    make = smote if maker == "smote" else generate
    made = make(train, labels, requested, seed=seed)
    return (made, requested) if only else (np.concatenate([train, made]), np.concatenate([labels, requested]))


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


def _linear_probe(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    seed: int,
    rows: np.ndarray | None = None,
    classes: np.ndarray | None = None,
    *,
    balanced: bool = False,
) -> np.ndarray:
    """A logistic regression whose penalty is chosen on real rows; fitted on them, or on other `rows` and `classes`."""
    # Each number about 1 in size, whatever the width, so that one grid of penalties serves all.
    scale = np.sqrt(train.shape[1])
    train, test = train * scale, test * scale
    penalty = _penalty(train, labels, seed)
    if rows is not None and classes is not None:
        # The penalty stands beside a sum over rows: of more rows it is more.
        penalty, train, labels = penalty * len(rows) / len(train), rows * scale, classes
    result: np.ndarray = _fitted(train, labels, [penalty], balanced=balanced)[0].predict(test)
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


def _fitted(train: np.ndarray, labels: np.ndarray, penalties: Any, *, balanced: bool = False) -> list[Any]:
    """A logistic regression for each penalty, the strongest first fitted: the next one starts where it ended."""
    # A second that only those who probe should pay.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # which scikit-learn brings

    start: tuple[np.ndarray, np.ndarray] | None = None
    results: dict[float, Any] = {}
    for penalty in sorted(penalties, reverse=True):
        weights = "balanced" if balanced else None
        model = LogisticRegression(C=1.0 / penalty, max_iter=200, tol=1e-4, warm_start=True, class_weight=weights)
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
