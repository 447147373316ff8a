"""Average precision and recall of boxes: see `evaluation.metrics.average_precision`."""

from __future__ import annotations

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics
from polysense.evaluation.metrics.average_precision import (
    AveragePrecisionScorer,
    ImageInstances,
    average_precision_metrics,
)
from polysense.evaluation.metrics.instance_matching import CROWD
from polysense.tasks.detection.overlaps import box_areas, overlaps
from polysense.tasks.detection.record import DetectionTarget

__all__ = ["detection_metrics", "detection_scorer", "image_boxes"]


def detection_metrics(target: DetectionTarget) -> tuple[Metric, ...]:
    """In the order in which they are reported."""
    return average_precision_metrics(target.classes, ("box", "boxes"))


def detection_scorer(target: DetectionTarget, statistics: Statistics) -> Scorer:
    """The metrics of the images that have the target, if only as none in them."""
    rows = np.flatnonzero(statistics["present"])
    images = [image_boxes(statistics["truth"][row], statistics["predicted"][row]) for row in rows]
    return AveragePrecisionScorer(target.classes, images, statistics["quality"][rows], "box")


def image_boxes(truth: np.ndarray, predicted: np.ndarray) -> ImageInstances:
    """One image's boxes.

    Args:
        truth: float [boxes, 7]: label, kind, area, corners.
        predicted: float [detections, 6]: label, corners, score.
    """
    kinds = truth[:, 1].astype(np.int64)
    return ImageInstances(
        labels=truth[:, 0].astype(np.int64),
        kinds=kinds,
        areas=truth[:, 2],
        detected=predicted[:, 0].astype(np.int64),
        scores=predicted[:, 5],
        detected_areas=box_areas(predicted[:, 1:5]),
        overlaps=overlaps(predicted[:, 1:5], truth[:, 3:7], kinds == CROWD),
    )
