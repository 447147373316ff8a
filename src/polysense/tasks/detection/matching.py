"""Which detections hit which boxes, as COCO's evaluation has it.

Within an image and a class detections take boxes greedily, the surest first: each takes the box of the highest IoU that
is left, if that reaches the threshold. What takes an ignored box (a crowd, a difficult one, one of another size than is
asked for) is neither right nor wrong, nor is a miss of another size. A crowd may be taken many times; its overlap is
the share of the detection that lies in it. (Lin et al., "Microsoft COCO", 2014; cocoapi,
PythonAPI/pycocotools/cocoeval.py, `evaluateImg`.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.tasks.detection.boxes import CROWD

__all__ = ["IOU_THRESHOLDS", "SIZES", "Matches", "match", "overlaps"]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas in pixels of the original image, by the names of their metrics."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections of one class in one image.

    Attributes:
        right: Which took a box that is to be found.
        ignored: Which are neither right nor wrong.
        num_boxes: Boxes that are to be found, by size.
        taken: The box that each took, its position; -1: none.
    """

    right: Bool[np.ndarray, "sizes thresholds detections"]
    ignored: Bool[np.ndarray, "sizes thresholds detections"]
    num_boxes: Int[np.ndarray, " sizes"]
    taken: Int[np.ndarray, "sizes thresholds detections"]


def overlaps(
    detections: Float[np.ndarray, "detections 4"],
    boxes: Float[np.ndarray, "boxes 4"],
    crowd: Bool[np.ndarray, " boxes"] | None = None,
) -> Float[np.ndarray, "detections boxes"]:
    """IoU of each pair; of a crowd the share of the detection that lies in it."""
    low = np.maximum(detections[:, None, :2], boxes[None, :, :2])
    high = np.minimum(detections[:, None, 2:], boxes[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    own, other = (np.clip(each[:, 2:] - each[:, :2], 0, None).prod(axis=1) for each in (detections, boxes))
    either = own[:, None] + other[None, :] - both
    if crowd is not None:
        either = np.where(crowd[None, :], own[:, None], either)
    result: np.ndarray = both / np.where(either > 0, either, 1.0)
    return result


def match(
    detections: Float[np.ndarray, "detections 4"],
    boxes: Float[np.ndarray, "boxes 4"],
    kinds: Int[np.ndarray, " boxes"],
    areas: Float[np.ndarray, " boxes"],
) -> Matches:
    """Matches one class's detections with its boxes in one image.

    Args:
        detections: The surest first.
        boxes: In the same pixels.
        kinds: See `boxes.Boxes`.
        areas: In those pixels.
    """
    ranges = np.array([*SIZES.values()])
    crowd = kinds == CROWD
    outside = (areas[None] < ranges[:, :1]) | (areas[None] > ranges[:, 1:])
    ignorable = outside | (kinds != 0)[None]  # [sizes, boxes]
    shape = (len(ranges), len(IOU_THRESHOLDS), len(detections))
    taken = np.full(shape, -1)
    if len(boxes) and len(detections):
        _take(overlaps(detections, boxes, crowd), crowd, ignorable, taken)
    own = np.clip(detections[:, 2:] - detections[:, :2], 0, None).prod(axis=1)
    beyond = (own[None] < ranges[:, :1]) | (own[None] > ranges[:, 1:])
    hits = taken >= 0
    of_ignored = np.zeros(shape, dtype=bool)
    if len(boxes):
        of_ignored = hits & ignorable[np.arange(len(ranges))[:, None, None], np.maximum(taken, 0)]
    return Matches(
        right=hits & ~of_ignored,
        ignored=of_ignored | (~hits & beyond[:, None, :]),
        num_boxes=(~ignorable).sum(axis=1),
        taken=taken,
    )


def _take(
    iou: Float[np.ndarray, "detections boxes"],
    crowd: Bool[np.ndarray, " boxes"],
    ignorable: Bool[np.ndarray, "sizes boxes"],
    taken: Int[np.ndarray, "sizes thresholds detections"],
) -> None:
    """Fills in which box each detection takes; one that is to be found goes before any other."""
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    free = np.ones((*taken.shape[:2], len(crowd)), dtype=bool)
    num = len(crowd)
    for index, own in enumerate(iou):
        if own.max() < thresholds[0]:
            continue
        reached = (own[None, None] >= thresholds[None, :, None]) & free
        wanted = reached & ~ignorable[:, None]
        chosen = np.where(wanted.any(axis=2, keepdims=True), wanted, reached)
        # Of equal ones the last, as COCO's loop has it.
        best = num - 1 - np.where(chosen, own, -1.0)[..., ::-1].argmax(axis=2)
        hit = chosen.any(axis=2)
        taken[:, :, index] = np.where(hit, best, -1)
        sizes, levels = np.nonzero(hit)
        boxes = best[sizes, levels]
        free[sizes, levels, boxes] = crowd[boxes]
