"""Average precision and recall of detected things, boxes or masks, as COCO's evaluation has them, with intervals.

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

from polysense.core.metric import Metric, Scorer, higher
from polysense.evaluation.metrics.instance_matching import IOU_THRESHOLDS, SIZES, match

__all__ = ["MOST_DETECTIONS", "AveragePrecisionScorer", "ImageInstances", "average_precision_metrics", "image_scores"]

MOST_DETECTIONS = 100
"""Of a class in an image, as COCO counts them."""

_RECALLS = np.linspace(0.0, 1.0, 101)
_RECALLED = (1, 10, 100)  # detections of a class in an image, for average recall
_HALF, _THREE_QUARTERS = 0, 5  # positions of the thresholds .5 and .75
_PART = 2**22  # weights at once


@dataclass(frozen=True, eq=False)
class ImageInstances:
    """The things of one image, and what was detected in it.

    Attributes:
        labels: Class ids of the things; one beyond the classes is of a class that was not learned.
        kinds: See `instance_matching`.
        areas: In pixels of the original image.
        detected: Class ids of the detections.
        scores: How sure each is.
        detected_areas: In pixels of the original image.
        overlaps: IoU of each pair; of a crowd the share of the detection that lies in it. Pairs of different classes
            are never looked at.
    """

    labels: Int[np.ndarray, " things"]
    kinds: Int[np.ndarray, " things"]
    areas: Float[np.ndarray, " things"]
    detected: Int[np.ndarray, " detections"]
    scores: Float[np.ndarray, " detections"]
    detected_areas: Float[np.ndarray, " detections"]
    overlaps: Float[np.ndarray, "detections things"]

    def of_class(self, index: int) -> ImageInstances:
        """Those of one class, its detections sorted by score and no more of them than are counted."""
        mine = np.flatnonzero(self.labels == index)
        return self._some(mine, self.surest(np.flatnonzero(self.detected == index)))

    def surest(self, chosen: np.ndarray) -> np.ndarray:
        """The positions of the surest of some detections, the surest first."""
        order: np.ndarray = chosen[np.argsort(-self.scores[chosen], kind="stable")[:MOST_DETECTIONS]]
        return order

    def _some(self, mine: np.ndarray, theirs: np.ndarray) -> ImageInstances:
        return ImageInstances(
            self.labels[mine], self.kinds[mine], self.areas[mine], self.detected[theirs], self.scores[theirs],
            self.detected_areas[theirs], self.overlaps[np.ix_(theirs, mine)],
        )  # fmt: skip


def average_precision_metrics(classes: Sequence[str], thing: tuple[str, str]) -> tuple[Metric, ...]:
    """In the order in which they are reported.

    Args:
        classes: Their names.
        thing: What a thing is called, and several of them: "box", "boxes".
    """
    one, several = thing
    nothing, none = f"no {one} is to be found", f"no {one} of the class is to be found"

    def metric(name: str, description: str, undefined_when: str = nothing) -> Metric:
        own = higher(name, description, undefined_when)
        return Metric(**{**vars(own), "reference": "pycocotools.cocoeval.COCOeval"})

    mean = "mean over classes and IoU from .5 to .95"
    results = [
        metric("map", f"Average precision: {mean}."),
        metric("map_50", "Average precision at an IoU of .5: mean over classes."),
        metric("map_75", "Average precision at an IoU of .75: mean over classes."),
    ]
    for size in list(SIZES)[1:]:
        results.append(metric(f"map_{size}", f"Average precision of {size} {several}: {mean}.", f"no {one} is {size}"))
    for most in _RECALLED:
        of = "detection" if most == 1 else "detections"
        results.append(metric(f"recall_{most}", f"Recall with {most} {of} of a class in an image: {mean}."))
    results.append(
        higher(
            f"{one}_quality",
            f"Mean over {several} of the highest product of score and IoU that a detection of its class has.",
            nothing,
        )
    )
    results += [metric(f"ap/{name}", f"{name!r}: average precision, IoU .5 to .95.", none) for name in classes]
    results += [metric(f"ap_50/{name}", f"{name!r}: average precision at IoU .5.", none) for name in classes]
    return tuple(results)


@dataclass(frozen=True, eq=False)
class _ClassCurve:
    """The detections of one class in all images, sorted by score.

    Attributes:
        rows: Of each its image's position.
        rank: How many detections of the class in its image are surer.
        right, ignored: See `Matches`.
        num_things: Things that are to be found in each image.
    """

    rows: Int[np.ndarray, " detections"]
    rank: Int[np.ndarray, " detections"]
    right: Bool[np.ndarray, "sizes thresholds detections"]
    ignored: Bool[np.ndarray, "sizes thresholds detections"]
    num_things: Float[np.ndarray, "images sizes"]

    def precision(self, weights: np.ndarray) -> np.ndarray:
        """Average precision; float64 [resamples, sizes, thresholds], NaN where nothing is to be found."""
        total = weights @ self.num_things
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
        """Recall with so many detections in an image; float64 [resamples, thresholds], of things of all sizes."""
        hits = self.right[0] & (self.rank < most)[None]
        per_image = np.zeros((len(hits), len(self.num_things)))
        levels, positions = np.nonzero(hits)
        np.add.at(per_image, (levels, self.rows[positions]), 1.0)
        total = (weights @ self.num_things[:, 0])[:, None]
        recall: np.ndarray = weights @ per_image.T / np.where(total > 0, total, np.nan)
        return recall


def _average_precision(right: np.ndarray, counted: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The area under interpolated curves.

    Args:
        right: float64 [resamples, hits], right detections up to each that is right.
        counted: All that count, up to it.
        total: float64 [resamples], things.
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


class AveragePrecisionScorer(Scorer):
    """The metrics of images, also of those without a thing."""

    def __init__(
        self, classes: Sequence[str], images: Sequence[ImageInstances], quality: np.ndarray, thing: str
    ) -> None:
        """Sorts the detections.

        Args:
            classes: Their names.
            images: What is in each.
            quality: float [images, 2], the last two of `image_scores`.
            thing: What a thing is called.
        """
        self._names, self._thing = tuple(classes), thing
        self._quality = quality.astype(np.float64)
        self.num_scores = sum(len(image.scores) for image in images)
        # The last is of things whose class was not learned: nobody finds them, and their precision is 0.
        self._curves = [_curve(index, images) for index in range(len(self._names) + 1)]

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        num = len(weights)
        precision = np.full((len(self._curves), num, len(SIZES), len(IOU_THRESHOLDS)), np.nan)
        recall = {most: np.full((len(self._curves), num, len(IOU_THRESHOLDS)), np.nan) for most in _RECALLED}
        for index, curve in enumerate(self._curves):
            if not curve.num_things.any():
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
        results[f"{self._thing}_quality"] = sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
        results |= {f"ap/{name}": _mean(every[i], 1) for i, name in enumerate(self._names)}
        return results | {f"ap_50/{name}": every[i, :, _HALF] for i, name in enumerate(self._names)}


def _mean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """The mean of what is defined."""
    there = np.isfinite(values)
    num = there.sum(axis=axis)
    result: np.ndarray = np.where(there, values, 0.0).sum(axis=axis) / np.where(num > 0, num, np.nan)
    return result


def _curve(index: int, images: Sequence[ImageInstances]) -> _ClassCurve:
    rows, ranks, scores, matches = [], [], [], []
    num_things = np.zeros((len(images), len(SIZES)))
    for row, image in enumerate(images):
        own = image.of_class(index)
        if not len(own.labels) and not len(own.detected):
            continue
        matched = match(own.overlaps, own.kinds, own.areas, own.detected_areas)
        num_things[row] = matched.num_things
        matches.append(matched)
        rows.append(np.full(len(own.scores), row))
        ranks.append(np.arange(len(own.scores)))
        scores.append(own.scores)
    if not matches:
        empty, none = np.zeros(0, dtype=np.int64), np.zeros((len(SIZES), len(IOU_THRESHOLDS), 0), dtype=bool)
        return _ClassCurve(empty, empty, none, none, num_things)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _ClassCurve(
        rows=np.concatenate(rows)[order],
        rank=np.concatenate(ranks)[order],
        right=np.concatenate([each.right for each in matches], axis=2)[:, :, order],
        ignored=np.concatenate([each.ignored for each in matches], axis=2)[:, :, order],
        num_things=num_things,
    )


def image_scores(image: ImageInstances) -> tuple[float, float, float]:
    """How good one image's detections are, classes taken together.

    Returns:
        Average precision at an IoU of .5 (of an image without a thing to be found: 1 less the highest score); then the
        sum over its things of the highest product of score and IoU that a detection of the class has, and their number.
    """
    chosen = image.surest(np.arange(len(image.scores)))
    detected, scores = image.detected[chosen], image.scores[chosen]
    right, ignored = np.zeros(len(chosen), dtype=bool), np.zeros(len(chosen), dtype=bool)
    quality, num = 0.0, 0
    for label in np.unique(image.labels):
        things, own = np.flatnonzero(image.labels == label), detected == label
        overlaps = image.overlaps[np.ix_(chosen[own], things)]
        matches = match(overlaps, image.kinds[things], image.areas[things], image.detected_areas[chosen[own]])
        right[own], ignored[own] = matches.right[0, _HALF], matches.ignored[0, _HALF]
        wanted = image.kinds[things] == 0
        num += int(wanted.sum())
        if wanted.any() and own.any():
            products = scores[own, None] * overlaps[:, wanted]
            quality += float(products.max(axis=0).sum())
    if not num:
        surest = float(scores[~ignored].max(initial=0.0))
        return 1.0 - surest, 0.0, 0.0
    counted = np.cumsum(~ignored)
    hits = np.flatnonzero(right)
    precision = _average_precision(np.arange(1.0, len(hits) + 1)[None], counted[hits][None], np.array([float(num)]))
    return float(precision[0]), quality, float(num)
