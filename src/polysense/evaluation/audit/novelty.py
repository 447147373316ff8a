"""Novelty: whether a model's own scores tell rows like its training rows from rows that are unlike any of them.

Two scores are of the network's fused vector: the distance to the 10th nearest of the reference rows, both on the unit
sphere (Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, section 3), and Mahalanobis'
distance to their mean (Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks", NeurIPS 2018, section 2.1, of one class), its covariance shrunk. Where a head has logits, a third
is their energy (Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, equation 4, temperature 1);
where classes are predicted, a fourth is how unsure they are (Hendrycks and Gimpel, "A Baseline for Detecting
Misclassified and Out-of-Distribution Examples in Neural Networks", ICLR 2017). Each is judged by the AUROC of the
audited rows with one column taken from another row, or damaged, against the same rows as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from polysense.core.json import JsonValue
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.bootstrap import Interval, multiplicities, simultaneous
from polysense.evaluation.metrics.base import Rankings

__all__ = ["Change", "Novelty", "detections", "mahalanobis_distance", "neighbor_distance"]

_NEIGHBORS = 10
_SHRINKAGE = 0.1
_MOST_SENTENCES = 3
_CHUNK = 512


@dataclass(frozen=True, eq=False, kw_only=True)
class Change:
    """How well changed rows are told from the same rows as they are.

    Attributes:
        words: What was changed: "sound from another row".
        num: Rows that were.
        aurocs: By score; the intervals hold for all changes and scores at once.
    """

    words: str
    num: int
    aurocs: Mapping[str, Interval]

    @property
    def best(self) -> tuple[str, Interval]:
        """The score that tells them apart best."""
        return max(self.aurocs.items(), key=lambda entry: entry[1].value)

    @property
    def is_noticed(self) -> bool:
        """Whether a score is measurably higher on changed rows."""
        return any(value.has_bounds and value.low > 0.5 for value in self.aurocs.values())


@dataclass(frozen=True, eq=False, kw_only=True)
class Novelty(AuditPart):
    """Which changes of the input the model's own scores notice.

    Attributes:
        reference: Which rows are known, in words.
        scores: The scores' names.
        changes: What was tried.
        confidence: Of the intervals.
    """

    name: ClassVar[str] = "novelty"
    title: ClassVar[str] = "Novel inputs"
    template: ClassVar[str] = "audit_novelty.html.j2"

    reference: str
    scores: tuple[str, ...]
    changes: tuple[Change, ...]
    confidence: float = 0.95

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "reference": self.reference,
            "scores": list(self.scores),
            "changes": [
                {
                    "change": each.words,
                    "num_rows": each.num,
                    "auroc": {name: dict(value.as_json()) for name, value in each.aurocs.items()},
                }
                for each in self.changes
            ],
        }

    def findings(self) -> Sequence[str]:
        noticed = sorted((each for each in self.changes if each.is_noticed), key=lambda each: -each.best[1].value)
        unnoticed = [each.words for each in self.changes if not each.is_noticed]
        sentences = []
        for each in noticed[:_MOST_SENTENCES]:
            name, value = each.best
            sentences.append(
                f"Rows with {each.words} stand out by their {name}: AUROC {value.value:.3f} ({value.low:.3f} to "
                f"{value.high:.3f})."
            )
        if unnoticed:
            sentences.append(f"No score of the model's own notices rows with {'; '.join(unnoticed)}.")
        return sentences


def neighbor_distance(
    reference: Float[np.ndarray, "known size"], vectors: Float[np.ndarray, "rows size"], *, is_within: bool = False
) -> Float[np.ndarray, " rows"]:
    """The distance to the 10th nearest reference row on the unit sphere, to the farthest where there are fewer.

    Args:
        reference: At least two.
        vectors: Of the rows.
        is_within: Whether the rows are the reference itself, of which none is its own neighbor.
    """
    known, own = _unit(reference), _unit(vectors)
    place = min(_NEIGHBORS, len(known) - is_within) - 1 + is_within
    results = []
    for start in range(0, len(own), _CHUNK):
        squares = 2 - 2 * own[start : start + _CHUNK] @ known.T
        results.append(np.sqrt(np.maximum(np.partition(squares, place, axis=1)[:, place], 0.0)))
    return np.concatenate([np.zeros(0), *results])


def mahalanobis_distance(
    reference: Float[np.ndarray, "known size"], vectors: Float[np.ndarray, "rows size"]
) -> Float[np.ndarray, " rows"]:
    """The distance to the reference rows' mean, in their deviations.

    Args:
        reference: At least two. A tenth of the covariance is taken from the mean variance, so that it can be inverted.
        vectors: Of the rows.
    """
    mean = reference.mean(axis=0)
    centered = reference - mean
    covariance = centered.T @ centered / len(reference)
    variance = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(len(covariance))
    whitened = np.linalg.solve(np.linalg.cholesky(shrunk), (vectors - mean).T)
    result: np.ndarray = np.sqrt((whitened**2).sum(axis=0))
    return result


def detections(
    clean: Mapping[str, Float[np.ndarray, " rows"]],
    changed: Mapping[str, Mapping[str, Float[np.ndarray, " rows"]]],
    *,
    clusters: np.ndarray | None,
    bootstrap: int,
    confidence: float,
    seed: int,
) -> tuple[Change, ...]:
    """How well each score tells each change from the rows as they are.

    Args:
        clean: By score, of every row.
        changed: By change, in words, likewise; NaN for rows that it does not change.
        clusters: The group of each row; None: rows are on their own.
        bootstrap: Resamples for the intervals; a row is drawn with its change.
        confidence: Of all intervals together.
        seed: Of the resamples.
    """
    keys = [(words, name) for words in changed for name in clean]
    num_rows = len(next(iter(clean.values()), np.zeros(0)))
    rankings, places = [], []
    for words, name in keys:
        scores = changed[words][name]
        rows = np.flatnonzero(np.isfinite(scores) & np.isfinite(clean[name]))
        both = np.concatenate([clean[name][rows], scores[rows]])
        positive = np.arange(len(both)) >= len(rows)
        rankings.append(Rankings(both[:, None], positive[:, None]))
        places.append(rows)

    def measured(weights: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                ranking(np.concatenate([weights[:, rows], weights[:, rows]], axis=1))[0]
                if len(rows)
                else np.full(len(weights), np.nan)
                for ranking, rows in zip(rankings, places, strict=True)
            ],
            axis=1,
        )

    if not keys or not num_rows:
        return ()
    values = measured(np.ones((1, num_rows)))[0]
    drawn = [np.zeros((0, len(keys)))]
    drawn += [measured(weights) for weights in multiplicities(num_rows, bootstrap, seed, clusters=clusters)]
    intervals = dict(zip(keys, simultaneous(values, np.concatenate(drawn), confidence), strict=True))
    counts = {words: len(rows) for (words, _), rows in zip(keys, places, strict=True)}
    return tuple(
        Change(words=words, num=counts[words], aurocs={name: _clipped(intervals[words, name]) for name in clean})
        for words in changed
        if counts[words]
    )


def _clipped(value: Interval) -> Interval:
    return Interval(value.value, max(value.low, 0.0), min(value.high, 1.0)) if value.has_bounds else value


def _unit(vectors: np.ndarray) -> np.ndarray:
    result: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return result
