"""pycocotools' own evaluation of boxes, for comparison."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["NAMES", "coco_stats", "statistics_of"]

NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "recall_1", "recall_10", "recall_100")
"""Of the metrics, in the order of pycocotools' first nine."""


def coco_stats(truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray], num_classes: int) -> tuple[Any, Any]:
    """The nine numbers, and average precision [thresholds, recalls, classes, sizes, limits].

    Args:
        truth: Per image [boxes, 7]: label, kind, area, corners.
        predicted: Per image [detections, 6]: label, corners, score.
        num_classes: Of labels.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, detections = [], []
    for image, (boxes, own) in enumerate(zip(truth, predicted, strict=True)):
        for label, kind, area, left, top, right, bottom in boxes.tolist():
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": int(label), "area": area,
                    "bbox": [left, top, right - left, bottom - top], "iscrowd": int(kind == 1),
                }
            )  # fmt: skip
        for label, left, top, right, bottom, score in own.tolist():
            detections.append(
                {
                    "image_id": image, "category_id": int(label), "bbox": [left, top, right - left, bottom - top],
                    "score": score,
                }
            )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = {
            "images": [{"id": image} for image in range(len(truth))],
            "categories": [{"id": index} for index in range(num_classes)],
            "annotations": annotations,
        }
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(detections) if detections else COCO(), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:9], evaluation.eval["precision"]


def statistics_of(truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Row statistics of these boxes."""
    from polysense.evaluation.metrics.average_precision import image_scores
    from polysense.tasks.detection.metrics import image_boxes

    scores = np.array([image_scores(image_boxes(*each)) for each in zip(truth, predicted, strict=True)]).reshape(-1, 3)
    ragged = {"truth": np.empty(len(truth), dtype=object), "predicted": np.empty(len(truth), dtype=object)}
    for name, values in (("truth", truth), ("predicted", predicted)):
        for index, each in enumerate(values):
            ragged[name][index] = each
    return {
        "present": np.ones(len(truth), dtype=bool), "precision": scores[:, 0], "quality": scores[:, 1:],
        "sizes": np.full((len(truth), 2), 200), **ragged,
    }  # fmt: skip
