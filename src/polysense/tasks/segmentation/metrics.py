"""Metrics of a segmentation, from each image's counts of pixels by class.

An image leaves three counts for each class: its true pixels, those predicted as it, and those that are both. IoU is
both / (true + predicted - both) and Dice 2 both / (true + predicted), over the pixels of all images together, as the
benchmarks have it (Everingham et al., "The PASCAL VOC challenge", 2010, section 4.2.3); a mean of the images' own IoU
would say more of small images. The means over classes run over those that occur in the masks or the predictions, as
scikit-learn's do. Intervals come from resampling images. Outlines are scored beside (see `boundaries`): a class's F1 is
the mean over the images in which it has one.

Pixels are those of the model's input: what resizing has removed is not counted.
"""

from __future__ import annotations

import math

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics
from polysense.evaluation.metrics.base import ratio
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["SegmentationScorer", "pixel_counts", "segmentation_metrics"]

_NO_OUTLINE = "the class has no outline, neither in the masks nor in the predictions"
_ABSENT = "the class occurs neither in the masks nor in the predictions"


def segmentation_metrics(target: SegmentationTarget) -> tuple[Metric, ...]:
    """The metrics of a segmentation, in the order in which they are reported."""

    def share(name: str, description: str, reference: str = "", undefined_when: str = "") -> Metric:
        return Metric(
            name=name,
            higher_is_better=True,
            bounds=(0.0, 1.0),
            description=description,
            reference=reference,
            undefined_when=undefined_when,
        )

    void = "no pixel has a class"
    metrics = [
        share("mean_iou", "Mean of the classes' IoU.", "sklearn.metrics.jaccard_score", void),
        share("mean_dice", "Mean of the classes' Dice; every class counts the same.", "sklearn.metrics.f1_score", void),
        share(
            "boundary_f1",
            "Mean of the classes' boundary F1: outlines within .75% of the image's diagonal.",
            "Csurka et al., BMVC 2013",
            "no mask has an outline",
        ),
        share(
            "boundary_iou",
            "Mean of the classes' boundary IoU: of their pixels within 2% of the image's diagonal of an outline.",
            "Cheng et al., CVPR 2021",
            "no mask has an outline",
        ),
        share("pixel_accuracy", "Share of the pixels whose class is right.", "sklearn.metrics.accuracy_score", void),
        Metric(
            name="log_loss",
            higher_is_better=False,
            bounds=(0.0, math.inf),
            description="Mean over pixels of minus the log probability of the true class.",
            undefined_when="the predictions carry no (finite) probabilities",
        ),
    ]
    for name in target.classes:
        metrics.append(share(f"iou/{name}", f"{name!r}: pixels that are both, by those that are either.", "", _ABSENT))
    for name in target.classes:
        metrics.append(share(f"boundary_f1/{name}", f"{name!r}: F1 of its outlines.", "", _NO_OUTLINE))
    for name in target.classes:
        metrics.append(share(f"boundary_iou/{name}", f"{name!r}: IoU of its pixels near outlines.", "", _NO_OUTLINE))
    for name in target.classes:
        metrics.append(share(f"dice/{name}", f"{name!r}: F1 of its pixels.", "", _ABSENT))
    return tuple(metrics)


def pixel_counts(target: SegmentationTarget, truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Each image's pixels by class, void ones left out.

    Args:
        target: The segmentation.
        truth: int [images, height, width], ids; those of `other` are predicted and not true.
        predicted: int [images, height, width].

    Returns:
        "truth", "predicted" and "both", int64 [images, classes], and "num_pixels", int64 [images].
    """
    num = target.void + 1
    flat = truth.reshape(len(truth), -1).astype(np.int64)
    rows = np.arange(len(truth))[:, None] * num
    guess = np.where(flat == target.void, target.void, predicted.reshape(len(predicted), -1))

    def by_class(ids: np.ndarray) -> np.ndarray:
        return np.bincount((rows + ids).ravel(), minlength=len(truth) * num).reshape(-1, num)

    true, guessed, both = by_class(flat), by_class(guess), by_class(np.where(flat == guess, flat, target.void))
    keep = slice(None, target.other)
    return {
        "truth": true[:, keep],
        "predicted": guessed[:, keep],
        "both": both[:, keep],
        "num_pixels": true[:, : target.void].sum(axis=1),
    }


class SegmentationScorer(Scorer):
    """The metrics of the images that have a mask."""

    def __init__(self, target: SegmentationTarget, statistics: Statistics) -> None:
        rows = np.flatnonzero(statistics["present"])
        self._names = target.classes
        self._counts = [statistics[name][rows].astype(np.float64) for name in ("truth", "predicted", "both")]
        self._num_pixels = statistics["num_pixels"][rows].astype(np.float64)
        self._boundary_f1 = statistics["boundary_f1"][rows] if "boundary_f1" in statistics else None
        bands = [statistics.get(name) for name in ("band_truth", "band_predicted", "band_both")]
        self._bands = [band[rows].astype(np.float64) for band in bands if band is not None]
        self._likelihood = statistics["likelihood"][rows] if "likelihood" in statistics else None

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        truth, predicted, both = (weights @ counts for counts in self._counts)
        iou, dice = ratio(both, truth + predicted - both), ratio(2 * both, truth + predicted)
        occurs = truth + predicted > 0
        scores = {
            "mean_iou": _mean(iou, occurs),
            "mean_dice": _mean(dice, occurs),
            "pixel_accuracy": ratio(both.sum(axis=1), weights @ self._num_pixels),
            "log_loss": np.full(len(weights), np.nan),
        }
        outlines = np.full(iou.shape, np.nan)
        if self._boundary_f1 is not None:
            known = np.isfinite(self._boundary_f1)
            outlines = ratio(weights @ np.where(known, self._boundary_f1, 0.0), weights @ known)
        scores["boundary_f1"] = _mean(outlines, np.isfinite(outlines))
        scores |= {f"boundary_f1/{name}": outlines[:, i] for i, name in enumerate(self._names)}
        bands = np.full(iou.shape, np.nan)
        if self._bands:
            true_band, predicted_band, both_bands = (weights @ band for band in self._bands)
            bands = ratio(both_bands, true_band + predicted_band - both_bands)
        scores["boundary_iou"] = _mean(bands, np.isfinite(bands))
        scores |= {f"boundary_iou/{name}": bands[:, i] for i, name in enumerate(self._names)}
        if self._likelihood is not None:
            scores["log_loss"] = -ratio(*(weights @ self._likelihood).T)
        scores |= {f"iou/{name}": iou[:, i] for i, name in enumerate(self._names)}
        return scores | {f"dice/{name}": dice[:, i] for i, name in enumerate(self._names)}


def _mean(values: np.ndarray, occurs: np.ndarray) -> np.ndarray:
    return ratio(np.where(occurs, values, 0.0).sum(axis=1), occurs.sum(axis=1))
