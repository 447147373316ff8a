"""Metrics of labeled segments: whole segments that are right, and the share of the length that is.

Of a text a segment is right if its class, its beginning and its end are (CoNLL-2003's measure, as seqeval's strict mode
has it). Of an audio clip its beginning may be off by 200 ms, and its end by 200 ms or a fifth of its length, whichever
is more, and each true one is matched with one predicted one at most, as many as can be (Mesaros, Heittola and Virtanen,
"Metrics for Polyphonic Sound Event Detection", 2016, section 2.3; sed_eval's event-based F1).

By token, or by time, it is counted how much of the length has its true class: a half-right segment counts half.

Every number is a ratio of sums over rows, so a bootstrap resample is one product of weights and rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, higher, lower
from polysense.evaluation.metrics.base import ratio
from polysense.tasks.tagging.record import TaggingTarget

__all__ = [
    "COLLAR",
    "TaggingScorer",
    "class_counts",
    "match_events",
    "segments_of",
    "tagging_metrics",
    "tagging_primary",
]

COLLAR = 0.2
"""Seconds that a beginning may be off."""

_OFFSET_SHARE = 0.2
_MAX_CLASSES = 30  # that are reported one by one
_EVERYWHERE = 0.9
_ROUNDING = 1e-4
# What is counted of each row and class.
_TRUE, _FOUND, _RIGHT, _ONSETS, _TRUE_LENGTH, _FOUND_LENGTH, _SHARED = range(7)


def _words(target: TaggingTarget) -> tuple[str, str]:
    """What segments and steps are called."""
    return ("segment", "frame") if target.units_per_second else ("entity", "token")


def tagging_primary(target: TaggingTarget) -> str:
    """The headline: F1 of whole segments; where nearly every step has a class, the share of steps that are right."""
    whole, step = _words(target)
    return f"{step}_accuracy" if sum(target.class_lengths) >= _EVERYWHERE else f"{whole}_f1"


def tagging_metrics(target: TaggingTarget) -> tuple[Metric, ...]:
    """The metrics of segments, in the order in which they are reported."""
    whole, step = _words(target)
    timed = bool(target.units_per_second)
    right = (
        f"class, beginning (within {1000 * COLLAR:.0f} ms) and end (within that or {100 * _OFFSET_SHARE:.0f}% of its "
        "length)"
        if timed
        else "class, beginning and end"
    )
    of = "the time" if timed else "the tokens"

    nothing = "there is no segment, true or predicted"
    results = [
        higher(f"{whole}_f1", f"F1 of segments, right in {right}.", nothing),
        higher(f"{whole}_precision", f"Share of the predicted segments that are right in {right}.", nothing),
        higher(f"{whole}_recall", f"Share of the true segments that are found, right in {right}.", nothing),
        higher(f"{whole}_f1_macro", "Mean of the classes' F1, of those that have a segment.", nothing),
    ]
    if timed:
        results.append(higher("onset_f1", "F1 of segments, right in class and beginning, whatever their end.", nothing))
    results += [
        higher(f"{step}_f1", f"F1 of {of} in segments, by class.", nothing),
        higher(f"{step}_accuracy", f"Share of {of} with the right class, or rightly none."),
        lower(
            "log_loss",
            "Mean negative log probability of a step's true label, in nats.",
            "nothing is known of how likely the true labels are",
        ),
    ]
    if 1 < len(target.classes) <= _MAX_CLASSES:
        results += [
            higher(f"{whole}_f1/{name}", f"F1 of the segments of {name!r}.", nothing) for name in target.classes
        ]
    return tuple(results)


def segments_of(records: np.ndarray) -> np.ndarray:
    """A row's segments without the first record, the whole column, and without padding; float64 [segments, columns]."""
    inner = records[1:]
    return inner[inner[:, 2] >= 0].astype(np.float64)


class TaggingScorer(Scorer):
    """All metrics of segments."""

    def __init__(
        self,
        target: TaggingTarget,
        predicted: Sequence[np.ndarray],
        truth: Sequence[np.ndarray],
        lengths: np.ndarray,
        likelihood: np.ndarray | None,
    ) -> None:
        """Counts what each row adds.

        Args:
            target: What is predicted.
            predicted: Per row float [segments, 4]: start, end, class and probability.
            truth: Per row float [segments, 3].
            lengths: float [rows], of the column that the segments lie in.
            likelihood: float [rows, 3], if known.
        """
        self._target = target
        rows, num_classes = len(truth), len(target.classes)
        counts = np.zeros((rows, num_classes, 7))
        whole = np.zeros((rows, 2))  # length, and how much of it is right
        for i in range(rows):
            whole[i] = _count(counts[i], truth[i], predicted[i], float(lengths[i]), target.units_per_second)
        self._counts = counts.reshape(rows, -1)
        self._whole = whole
        self._likelihood = None if likelihood is None else likelihood.astype(np.float64)

    def f1_of_rows(self) -> np.ndarray:
        """Each row's F1 of whole segments, float64 [rows]; 1 where there is none and none is predicted."""
        counts = self._counts.reshape(len(self._counts), -1, 7).sum(axis=1)
        both = counts[:, _FOUND] + counts[:, _TRUE]
        result: np.ndarray = np.where(both > 0, 2 * counts[:, _RIGHT] / np.maximum(both, 1), 1.0)
        return result

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer. None of them is a ranking."""
        target = self._target
        whole, step = _words(target)
        by_class = (weights @ self._counts).reshape(len(weights), len(target.classes), 7)
        total = by_class.sum(axis=1)
        length = weights @ self._whole
        f1 = _f1(by_class[..., _RIGHT], by_class[..., _FOUND], by_class[..., _TRUE])
        defined = ~np.isnan(f1)
        results = {
            f"{whole}_f1": _f1(total[:, _RIGHT], total[:, _FOUND], total[:, _TRUE]),
            f"{whole}_precision": _share(total[:, _RIGHT], total[:, _FOUND], total[:, _TRUE]),
            f"{whole}_recall": _share(total[:, _RIGHT], total[:, _TRUE], total[:, _FOUND]),
            f"{whole}_f1_macro": ratio(np.where(defined, f1, 0.0).sum(axis=1), defined.sum(axis=1).astype(float)),
            "onset_f1": _f1(total[:, _ONSETS], total[:, _FOUND], total[:, _TRUE]),
            f"{step}_f1": _f1(total[:, _SHARED], total[:, _FOUND_LENGTH], total[:, _TRUE_LENGTH]),
            f"{step}_accuracy": ratio(length[:, 1], length[:, 0]),
            "log_loss": np.full(len(weights), np.nan),
        }
        if self._likelihood is not None:
            sums = weights @ self._likelihood
            results["log_loss"] = ratio(-sums[:, 0], sums[:, 2])
        for i, name in enumerate(target.classes):
            results[f"{whole}_f1/{name}"] = f1[:, i]
        return {info.name: results[info.name] for info in tagging_metrics(target)}


def _count(
    counts: np.ndarray, true: np.ndarray, predicted: np.ndarray, length: float, units_per_second: float
) -> tuple[float, float]:
    """Adds a row's segments to its counts [classes, 7]; returns its length, and how much of it is right."""
    # What is predicted without knowing the row has no end.
    predicted = np.column_stack([predicted[:, 0], np.minimum(predicted[:, 1], length), predicted[:, 2]])
    predicted = predicted[predicted[:, 1] > predicted[:, 0]]
    np.add.at(counts[:, _TRUE], true[:, 2].astype(int), 1)
    np.add.at(counts[:, _FOUND], predicted[:, 2].astype(int), 1)
    np.add.at(counts[:, _TRUE_LENGTH], true[:, 2].astype(int), true[:, 1] - true[:, 0])
    np.add.at(counts[:, _FOUND_LENGTH], predicted[:, 2].astype(int), predicted[:, 1] - predicted[:, 0])
    upper = np.minimum(true[:, None, 1], predicted[None, :, 1])
    overlap = np.clip(upper - np.maximum(true[:, None, 0], predicted[None, :, 0]), 0.0, None)
    same = true[:, None, 2] == predicted[None, :, 2]
    np.add.at(counts[:, _SHARED], true[:, 2].astype(int), (overlap * same).sum(axis=1))
    if units_per_second:
        begins = np.abs(true[:, None, 0] - predicted[None, :, 0]) / units_per_second <= COLLAR + _ROUNDING
        span = np.maximum(COLLAR, _OFFSET_SHARE * (true[:, 1] - true[:, 0]) / units_per_second)
        ends = np.abs(true[:, None, 1] - predicted[None, :, 1]) / units_per_second <= span[:, None] + _ROUNDING
    else:
        begins = np.abs(true[:, None, 0] - predicted[None, :, 0]) < _ROUNDING
        ends = np.abs(true[:, None, 1] - predicted[None, :, 1]) < _ROUNDING
    for kind, allowed in ((_RIGHT, same & begins & ends), (_ONSETS, same & begins)):
        for i in match_events(allowed):
            counts[int(true[i, 2]), kind] += 1
    either = (true[:, 1] - true[:, 0]).sum() + (predicted[:, 1] - predicted[:, 0]).sum() - overlap.sum()
    return length, max(length - either, 0.0) + float((overlap * same).sum())


def match_events(allowed: np.ndarray) -> list[int]:
    """The true segments that the largest matching with predicted ones, each at most once, holds.

    Args:
        allowed: bool [true, predicted], which may be matched.
    """
    if not allowed.any():
        return []
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    matched: list[int] = np.flatnonzero(
        maximum_bipartite_matching(csr_array(allowed), perm_type="column") >= 0
    ).tolist()
    return matched


def _f1(right: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return ratio(2 * right, predicted + true)


def _share(right: np.ndarray, of: np.ndarray, other: np.ndarray) -> np.ndarray:
    """right / of; 0 where there is nothing to divide by but something to find."""
    return np.where((of == 0) & (other > 0), 0.0, ratio(right, of))


def class_counts(target: TaggingTarget, statistics: Statistics) -> np.ndarray:
    """Per class its true segments, its predicted ones and those that are right; float64 [classes, 3]."""
    counts = np.zeros((len(target.classes), 7))
    for i in np.flatnonzero(statistics["present"]).tolist():
        length = float(statistics["length"][i])
        _count(counts, statistics["truth"][i], statistics["predicted"][i], length, target.units_per_second)
    return counts[:, [_TRUE, _FOUND, _RIGHT]]
