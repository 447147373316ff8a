"""Average precision and recall of boxes, as COCO's evaluation has them, with intervals over images.

A resample counts each image several times or not at all. A detection's weight is its image's, so precision and recall
are ratios of weighted sums along the detections sorted by score. Precision is interpolated at 101 recalls, and only
detections that are right can raise recall: the curve is looked at in these alone, which are far fewer than all.

Values are equal to pycocotools' (tests compare them), with one interval more than it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.core.metric import Metric, Scorer, Statistics, higher
from polysense.tasks.detection.matching import IOU_THRESHOLDS, SIZES, match, overlaps
from polysense.tasks.detection.record import DetectionTarget

__all__ = ["MOST_DETECTIONS", "DetectionScorer", "detection_metrics", "image_scores"]

MOST_DETECTIONS = 100
"""Of a class in an image, as COCO counts them."""

_RECALLS = np.linspace(0.0, 1.0, 101)
_RECALLED = (1, 10, 100)  # detections of a class in an image, for average recall
_HALF, _THREE_QUARTERS = 0, 5  # positions of the thresholds .5 and .75
_PART = 2**22  # weights at once
_NO_BOX = "no box of the class is to be found"


def detection_metrics(target: DetectionTarget) -> tuple[Metric, ...]:
    """In the order in which they are reported."""
    reference = "pycocotools.cocoeval.COCOeval"

    def metric(name: str, description: str, undefined_when: str = "no box is to be found") -> Metric:
        own = higher(name, description, undefined_when)
        return Metric(**{**vars(own), "reference": reference})

    mean = "mean over classes and IoU from .5 to .95"
    results = [
        metric("map", f"Average precision: {mean}."),
        metric("map_50", "Average precision at an IoU of .5: mean over classes."),
        metric("map_75", "Average precision at an IoU of .75: mean over classes."),
    ]
    for size in list(SIZES)[1:]:
        results.append(metric(f"map_{size}", f"Average precision of {size} boxes: {mean}.", f"no box is {size}"))
    for most in _RECALLED:
        of = "detection" if most == 1 else "detections"
        results.append(metric(f"recall_{most}", f"Recall with {most} {of} of a class in an image: {mean}."))
    results.append(
        higher(
            "box_quality",
            "Mean over boxes of the highest product of score and IoU that a detection of its class has.",
            "no box is to be found",
        )
    )
    results += [
        metric(f"ap/{name}", f"{name!r}: average precision, IoU .5 to .95.", _NO_BOX) for name in target.classes
    ]
    results += [metric(f"ap_50/{name}", f"{name!r}: average precision at IoU .5.", _NO_BOX) for name in target.classes]
    return tuple(results)


@dataclass(frozen=True, eq=False)
class _ClassCurve:
    """The detections of one class in all images, sorted by score.

    Attributes:
        rows: Of each its image's position.
        rank: How many detections of the class in its image are surer.
        right, ignored: See `Matches`.
        num_boxes: Boxes that are to be found in each image.
    """

    rows: Int[np.ndarray, " detections"]
    rank: Int[np.ndarray, " detections"]
    right: Bool[np.ndarray, "sizes thresholds detections"]
    ignored: Bool[np.ndarray, "sizes thresholds detections"]
    num_boxes: Float[np.ndarray, "images sizes"]

    def precision(self, weights: np.ndarray) -> np.ndarray:
        """Average precision; float64 [resamples, sizes, thresholds], NaN where no box is to be found."""
        total = weights @ self.num_boxes
        result = np.full((len(weights), *self.right.shape[:2]), np.nan)
        each = weights[:, self.rows]
        counted = np.cumsum(each, axis=1)
        for size in range(self.right.shape[0]):
            there = total[:, size] > 0
            if not there.any():
                continue
            for level in range(self.right.shape[1]):
                hits = np.flatnonzero(self.right[size, level])
                seen = counted
                if self.ignored[size, level].any():
                    seen = np.cumsum(each * ~self.ignored[size, level], axis=1)
                result[there, size, level] = _average_precision(
                    np.cumsum(each[:, hits], axis=1)[there], seen[:, hits][there], total[there, size]
                )
        return result

    def recall(self, weights: np.ndarray, most: int) -> np.ndarray:
        """Recall with so many detections in an image; float64 [resamples, thresholds], of boxes of all sizes."""
        hits = self.right[0] & (self.rank < most)[None]
        per_image = np.zeros((len(hits), len(self.num_boxes)))
        levels, positions = np.nonzero(hits)
        np.add.at(per_image, (levels, self.rows[positions]), 1.0)
        total = (weights @ self.num_boxes[:, 0])[:, None]
        recall: np.ndarray = weights @ per_image.T / np.where(total > 0, total, np.nan)
        return recall


def _average_precision(right: np.ndarray, counted: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The area under interpolated curves.

    Args:
        right: float64 [resamples, hits], right detections up to each that is right.
        counted: All that count, up to it.
        total: float64 [resamples], boxes.
    """
    if not right.shape[1]:
        return np.zeros(len(right))
    recall = right / total[:, None]
    precision = right / np.maximum(counted, np.finfo(np.float64).tiny)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # How many of the 101 recalls each detection is the first to reach.
    reached = np.searchsorted(_RECALLS, recall, side="right")
    own = np.diff(reached, axis=1, prepend=0)
    result: np.ndarray = (own * best).sum(axis=1) / len(_RECALLS)
    return result


class DetectionScorer(Scorer):
    """The metrics of the images that have the target, if only as none in them."""

    def __init__(self, target: DetectionTarget, statistics: Statistics) -> None:
        rows = np.flatnonzero(statistics["present"])
        self._names = target.classes
        self._quality = statistics["quality"][rows].astype(np.float64)
        truth = [statistics["truth"][row] for row in rows]
        predicted = [statistics["predicted"][row] for row in rows]
        self.num_scores = sum(map(len, predicted))
        # The last is of boxes whose class was not learned: nobody finds them, and their precision is 0.
        self._curves = [_curve(index, truth, predicted) for index in range(len(target.classes) + 1)]

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        num = len(weights)
        precision = np.full((len(self._curves), num, len(SIZES), len(IOU_THRESHOLDS)), np.nan)
        recall = {most: np.full((len(self._curves), num, len(IOU_THRESHOLDS)), np.nan) for most in _RECALLED}
        for index, curve in enumerate(self._curves):
            if not curve.num_boxes.any():
                continue
            for most, values in recall.items():
                values[index] = curve.recall(weights, most)
            step = max(1, _PART // max(len(curve.rows), 1)) if rankings else 0
            for start in range(0, num, step) if step else ():
                part = slice(start, start + step)
                precision[index, part] = curve.precision(weights[part])
        every = precision[:, :, 0]
        results = {
            "map": _mean(every, (0, 2)),
            "map_50": _mean(every[..., _HALF], 0),
            "map_75": _mean(every[..., _THREE_QUARTERS], 0),
        }
        results |= {f"map_{size}": _mean(precision[:, :, i], (0, 2)) for i, size in enumerate(SIZES) if i}
        results |= {f"recall_{most}": _mean(values, (0, 2)) for most, values in recall.items()}
        sums = weights @ self._quality
        results["box_quality"] = sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
        results |= {f"ap/{name}": _mean(every[i], 1) for i, name in enumerate(self._names)}
        return results | {f"ap_50/{name}": every[i, :, _HALF] for i, name in enumerate(self._names)}


def _mean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """The mean of what is defined."""
    there = np.isfinite(values)
    num = there.sum(axis=axis)
    result: np.ndarray = np.where(there, values, 0.0).sum(axis=axis) / np.where(num > 0, num, np.nan)
    return result


def _curve(index: int, truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> _ClassCurve:
    rows, ranks, scores, matches = [], [], [], []
    num_boxes = np.zeros((len(truth), len(SIZES)))
    for row, (boxes, detections) in enumerate(zip(truth, predicted, strict=True)):
        mine, theirs = boxes[boxes[:, 0] == index], detections[detections[:, 0] == index]
        if not len(mine) and not len(theirs):
            continue
        order = np.argsort(-theirs[:, 5], kind="stable")[:MOST_DETECTIONS]
        theirs = theirs[order]
        own = match(theirs[:, 1:5], mine[:, 3:7], mine[:, 1].astype(np.int64), mine[:, 2])
        num_boxes[row] = own.num_boxes
        matches.append(own)
        rows.append(np.full(len(theirs), row))
        ranks.append(np.arange(len(theirs)))
        scores.append(theirs[:, 5])
    if not matches:
        empty, none = np.zeros(0, dtype=np.int64), np.zeros((len(SIZES), len(IOU_THRESHOLDS), 0), dtype=bool)
        return _ClassCurve(empty, empty, none, none, num_boxes)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _ClassCurve(
        rows=np.concatenate(rows)[order],
        rank=np.concatenate(ranks)[order],
        right=np.concatenate([each.right for each in matches], axis=2)[:, :, order],
        ignored=np.concatenate([each.ignored for each in matches], axis=2)[:, :, order],
        num_boxes=num_boxes,
    )


def image_scores(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float, float]:
    """How good one image's boxes are, classes taken together.

    Args:
        truth: float [boxes, 7]: label, kind, area, corners.
        predicted: float [detections, 6]: label, corners, score.

    Returns:
        Average precision at an IoU of .5 (of an image without a box to be found: 1 less the highest score); then the
        sum over its boxes of the highest product of score and IoU that a detection of the class has, and their number.
    """
    order = np.argsort(-predicted[:, 5], kind="stable")[:MOST_DETECTIONS]
    predicted = predicted[order]
    right, ignored = np.zeros(len(predicted), dtype=bool), np.zeros(len(predicted), dtype=bool)
    quality, num = 0.0, 0
    for label in np.unique(truth[:, 0]):
        boxes, own = truth[truth[:, 0] == label], predicted[:, 0] == label
        matches = match(predicted[own, 1:5], boxes[:, 3:7], boxes[:, 1].astype(np.int64), boxes[:, 2])
        right[own], ignored[own] = matches.right[0, _HALF], matches.ignored[0, _HALF]
        wanted = boxes[boxes[:, 1] == 0]
        num += len(wanted)
        if len(wanted) and own.any():
            products = predicted[own, 5:6] * overlaps(predicted[own, 1:5], wanted[:, 3:7])
            quality += float(products.max(axis=0).sum())
    if not num:
        surest = float(predicted[~ignored, 5].max(initial=0.0))
        return 1.0 - surest, 0.0, 0.0
    counted = np.cumsum(~ignored)
    hits = np.flatnonzero(right)
    precision = _average_precision(np.arange(1.0, len(hits) + 1)[None], counted[hits][None], np.array([float(num)]))
    return float(precision[0]), quality, float(num)
