"""Metrics of generated images: how well noise is told from images, KID, the class that is shown, and copies.

KID is the squared maximum mean discrepancy between the true and the generated images' features under the kernel
(x.y / d + 1)^3 (Binkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4). Unlike the Frechet distance it has an
unbiased estimate from a few hundred images. Row i's image is generated from the columns of row i, so the two are a
pair, and the estimate is that of paired samples, which leaves every pair out (Gretton et al., "A Kernel Two-Sample
Test", JMLR 2012, equation 4). The features need no weights (`target`), so the numbers compare between models of one
target, and with no published ones.
"""

from __future__ import annotations

import math

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, higher, lower
from polysense.core.random import permutation
from polysense.evaluation.metrics.base import ratio
from polysense.tasks.image_generation.record import ImageGenerationTarget

__all__ = ["ImageScorer", "copied_below", "image_metrics", "kernel_differences"]

_MOST_COMPARED = 2_000  # images; every one is compared with every other
_SHARE_COPIED = 0.01
_NOT_GENERATED = "no image was generated"


def image_metrics(target: ImageGenerationTarget) -> tuple[Metric, ...]:
    """The metrics of a target, in the order in which they are reported."""
    metrics = [
        higher(
            "skill",
            "Share of the noise baseline's flow loss that the model is free of; 0 is as good as the baseline.",
            "a prediction is not a finite number",
            bounds=(-math.inf, 1.0),
        ),
        lower(
            "kid",
            "Kernel distance between the true and the generated images, from features that need no weights; 0 if they "
            "are of one distribution.",
            f"{_NOT_GENERATED}, or there is one row only",
            bounds=(-math.inf, math.inf),
        ),
        lower(
            "flow_loss",
            "Mean squared error of the velocity from image to noise, in standard deviations of the pixels, at fixed "
            "noise and times.",
            "a prediction is not a finite number",
        ),
        Metric(
            name="copied",
            higher_is_better=False,
            bounds=(0.0, 1.0),
            description="Share of the generated images that lie nearer to a training image than 99% of the true images "
            "of these rows do; 0.01 is what a model that copies nothing is expected to have.",
            undefined_when=_NOT_GENERATED,
        ),
    ]
    if target.shown_classes:
        metrics[2:2] = [
            higher(
                "shown_accuracy",
                f"Share of the generated images that a classifier of the training images takes for their row's class "
                f"({target.shown}).",
                f"{_NOT_GENERATED}, or no row has a known class",
                is_share=True,
            ),
            higher(
                "true_shown_accuracy",
                "The same classifier's share on the true images of these rows: about what can be reached.",
                f"{_NOT_GENERATED}, or no row has a known class",
                is_share=True,
            ),
        ]
    return tuple(metrics)


def kernel_differences(true: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """h(i, j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i), float64 [rows, rows]; 0 where i is j.

    Args:
        true: Features x, float [rows, features].
        generated: Features y, likewise, row by row.
    """
    x, y = true.astype(np.float64), generated.astype(np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result: np.ndarray = (a @ b.T / a.shape[1] + 1) ** 3
        return result

    cross = kernel(x, y)
    result: np.ndarray = kernel(x, x) + kernel(y, y) - cross - cross.T
    np.fill_diagonal(result, 0.0)
    return result


def copied_below(true_distances: np.ndarray) -> float:
    """The distance to a training image below which an image counts as copied: 1% of the true ones lie there."""
    known = true_distances[np.isfinite(true_distances)]
    return float(np.quantile(known, _SHARE_COPIED)) if len(known) else math.nan


class ImageScorer(Scorer):
    """The metrics of the images that there are."""

    def __init__(self, target: ImageGenerationTarget, statistics: Statistics) -> None:
        rows = np.flatnonzero(statistics["present"])
        own = {name: values[rows] for name, values in statistics.items()}
        self._has_classes = bool(target.shown_classes)
        nothing = np.full(len(rows), np.nan)
        self._loss, self._noise = own.get("flow_loss", nothing), own.get("noise_flow_loss", nothing)
        self._generated = "features" in own
        if not self._generated:
            return
        self._compared = np.sort(permutation(len(rows), "compared images")[:_MOST_COMPARED])
        self._differences = kernel_differences(
            own["true_features"][self._compared], own["features"][self._compared]
        )  # fmt: skip
        self._copied = own["distance"] < copied_below(own["true_distance"])
        self._known = own["class"] >= 0
        self._right = {name: (own[name] == own["class"]) & self._known for name in ("shown_class", "true_shown_class")}

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        total, nothing = weights.sum(axis=1), np.full(len(weights), np.nan)
        loss, noise = weights @ self._loss, weights @ self._noise
        scores = {"skill": 1 - ratio(loss, noise), "kid": nothing, "flow_loss": ratio(loss, total), "copied": nothing}
        if self._has_classes:
            scores |= {"shown_accuracy": nothing, "true_shown_accuracy": nothing}
        if not self._generated:
            return scores
        chosen = weights[:, self._compared]
        pairs = chosen.sum(axis=1) ** 2 - np.square(chosen).sum(axis=1)
        scores["kid"] = ratio(np.einsum("rn,rn->r", chosen @ self._differences, chosen), pairs)
        scores["copied"] = ratio(weights @ self._copied, total)
        if self._has_classes:
            known = weights @ self._known
            scores["shown_accuracy"] = ratio(weights @ self._right["shown_class"], known)
            scores["true_shown_accuracy"] = ratio(weights @ self._right["true_shown_class"], known)
        return scores
