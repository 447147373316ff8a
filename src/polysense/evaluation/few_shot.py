"""How far few labels go on frozen features: accuracy by the number of labeled rows, beside what it must beat.

Every number of shots is drawn several times, and the interval is over the draws (Student's t): with so few labels,
which rows they are matters more than which rows are tested. Trained and random encoder get the same draws, so the gain
is the mean of paired differences. Where all rows are taken there is one draw, and the interval is over the test rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polysense.core.json import json_object
from polysense.evaluation.bootstrap import Interval, mean_over_rows
from polysense.evaluation.probes import balanced_accuracy, centered, classify, draw_shots
from polysense.evaluation.significance import mean_interval

__all__ = ["RANDOM", "TRAINED", "FewShot", "Score", "measure_shots"]

TRAINED, RANDOM = "trained encoder", "random encoder"

_METHOD_NAMES = {
    "prototypes": "prototypes",
    "linear_probe": "linear probe",
    "knn": "k-NN",
    "balanced_probe": "linear probe, balanced weights",
    "smote_probe": "linear probe, filled up by SMOTE",
    "smote_only": "linear probe on SMOTE's rows only",
    "gan_probe": "linear probe, filled up by a GAN",
    "gan_only": "linear probe on a GAN's rows only",
}
_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Score:
    """One method on one encoder's features with so many shots.

    Attributes:
        encoder: `TRAINED` or `RANDOM`.
        method: One of `probes.ALL_METHODS`.
        shots: Labeled rows per class; None: all.
        accuracy: Share of the test rows that are right: mean over the draws.
        balanced: Likewise the mean of the classes' shares.
        draws: Each draw's accuracy.
        gain: Of a trained encoder, its accuracy less the random one's on the same draws.
    """

    encoder: str
    method: str
    shots: int | None
    accuracy: Interval
    balanced: Interval
    draws: tuple[float, ...]
    gain: Interval | None = None

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        encoder = "trained" if self.encoder == TRAINED else "random"
        result = json_object(self, encoder=encoder, balanced_accuracy=self.balanced, gain_over_random=self.gain)
        del result["balanced"], result["gain"]
        return result


@dataclass(frozen=True, eq=False, kw_only=True)
class FewShot:
    """What was measured.

    Attributes:
        target: The column of labels.
        features: What was read off the model, in words.
        classes: Their names.
        class_counts: Training rows of each, that labeled rows are drawn from.
        shots: Labeled rows per class that were tried; None: all.
        methods: Which were tried.
        num_draws: Of each number of shots.
        split: What is tested on.
        num_test: Rows of it that count.
        scores: Everything that was measured.
        majority: Accuracy of always naming the class that is most frequent in training.
        notes: What was left out, and why.
    """

    target: str
    features: str
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    shots: tuple[int | None, ...]
    methods: tuple[str, ...]
    num_draws: int
    split: str
    num_test: int
    scores: tuple[Score, ...]
    majority: float
    notes: tuple[str, ...] = ()

    @property
    def chance(self) -> float:
        """The accuracy of guessing, and the balanced one of always naming one class."""
        return 1.0 / len(self.classes)

    @property
    def short_classes(self) -> dict[int, dict[str, int]]:
        """Per number of shots the classes that have fewer training rows, and how many; they give all that they have."""
        results = {
            shots: {n: have for n, have in zip(self.classes, self.class_counts, strict=True) if have < shots}
            for shots in self.shots
            if shots is not None
        }
        return {shots: named for shots, named in results.items() if named}

    def score(self, encoder: str, method: str, shots: int | None) -> Score:
        """One of the scores."""
        return next(s for s in self.scores if (s.encoder, s.method, s.shots) == (encoder, method, shots))

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return json_object(
            self,
            classes=dict(zip(self.classes, self.class_counts, strict=True)),
            chance=self.chance,
            scores=[score.as_json() for score in self.scores],
            short_classes=self.short_classes,
        )

    def remarks(self) -> list[str]:
        """What to know of the figures, a sentence each."""
        results = [f"features: {self.features}", *self.notes]
        for shots, named in self.short_classes.items():
            listed = ", ".join(f"{name} ({have})" for name, have in list(named.items())[:8])
            more = f" and {len(named) - 8} more" if len(named) > 8 else ""
            results.append(f"{shots} shots: fewer training rows, all taken, in {len(named)} classes: {listed}{more}")
        return results


def method_name(method: str) -> str:
    """A method as it is written for people."""
    return _METHOD_NAMES[method]


def measure_shots(
    train: Mapping[str, np.ndarray],
    train_labels: np.ndarray,
    test: Mapping[str, np.ndarray],
    test_labels: np.ndarray,
    *,
    num_classes: int,
    shots: Sequence[int | None],
    methods: Sequence[str],
    num_draws: int,
    seed: int,
) -> tuple[Score, ...]:
    """Draws, trains and tests.

    Args:
        train: Per encoder (`TRAINED`, `RANDOM`) float [rows, size], the training rows' features.
        train_labels: int64 [rows].
        test: Per encoder the tested rows' features.
        test_labels: Likewise.
        num_classes: Class ids run over [0, num_classes).
        shots: Labeled rows per class; None: all.
        methods: Of `probes.ALL_METHODS`.
        num_draws: Of each number of shots.
        seed: Of the draws.
    """
    means = {name: values.mean(axis=0, dtype=np.float64) for name, values in train.items()}
    pool = {name: centered(values, means[name]) for name, values in train.items()}
    requested = {name: centered(values, means[name]) for name, values in test.items()}
    scores = []
    for count in shots:
        draws = [
            draw_shots(train_labels, num_classes, count, seed=seed, draw=draw)
            for draw in range(1 if count is None else num_draws)
        ]
        for method in methods:
            right: dict[str, list[np.ndarray]] = {}
            for name in train:
                if name != TRAINED and TRAINED in right and _are_alike(pool[name], pool[TRAINED]):
                    right[name] = right[TRAINED]  # read off without any encoder
                    continue
                for rows in draws:
                    guesses = classify(
                        method,
                        pool[name][rows],
                        train_labels[rows],
                        requested[name],
                        shots=count,
                        seed=seed,
                    )
                    right.setdefault(name, []).append(guesses == test_labels)
            for name, result in right.items():
                scores.append(_score(name, method, count, result, right.get(RANDOM), test_labels, seed))
    return tuple(scores)


def _are_alike(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and bool((first == second).all())


def _score(
    encoder: str,
    method: str,
    shots: int | None,
    right: list[np.ndarray],
    rival: list[np.ndarray] | None,
    truth: np.ndarray,
    seed: int,
) -> Score:
    accuracies = [float(one.mean()) for one in right]
    balanced = [balanced_accuracy(one, truth) for one in right]
    gains = None
    if encoder != RANDOM and rival is not None:
        gains = [one.astype(np.float64) - other for one, other in zip(right, rival, strict=True)]
    if len(right) > 1:
        accuracy, evenly = _share(mean_interval(accuracies)), _share(mean_interval(balanced))
        gain = None if gains is None else mean_interval([float(one.mean()) for one in gains])
    else:
        accuracy, evenly = mean_over_rows(right[0].astype(np.float64), _RESAMPLES, seed), Interval(balanced[0])
        gain = None if gains is None else mean_over_rows(gains[0], _RESAMPLES, seed)
    return Score(
        encoder=encoder,
        method=method,
        shots=shots,
        accuracy=accuracy,
        balanced=evenly,
        draws=tuple(accuracies),
        gain=gain,
    )


def _share(score: Interval) -> Interval:
    """The interval of a share; few draws that are far apart would else reach beyond 0 and 1."""
    return Interval(score.value, max(score.low, 0.0), min(score.high, 1.0)) if score.has_bounds else score
