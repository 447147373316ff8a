"""Which detections hit which things, as COCO's evaluation has it, whether things are boxes or masks.

Within an image and a class detections take things greedily, the surest first: each takes the one of the highest IoU
that is left, if that reaches the threshold. What takes an ignored thing (a crowd, a difficult one, one of another size
than is asked for) is neither right nor wrong, nor is a miss of another size. A crowd may be taken many times; its
overlap is the share of the detection that lies in it. (Lin et al., "Microsoft COCO", 2014; cocoapi,
PythonAPI/pycocotools/cocoeval.py, `evaluateImg`.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["CROWD", "DIFFICULT", "IOU_THRESHOLDS", "SIZES", "Matches", "match"]

CROWD, DIFFICULT = 1, 2
"""Kinds of things that are not to be found; 0 is the usual one."""

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas in pixels of the original image, by the names of their metrics."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections of one class in one image.

    Attributes:
        right: Which took a thing that is to be found.
        ignored: Which are neither right nor wrong.
        num_things: Things that are to be found, by size.
        taken: The thing that each took, its position; -1: none.
    """

    right: Bool[np.ndarray, "sizes thresholds detections"]
    ignored: Bool[np.ndarray, "sizes thresholds detections"]
    num_things: Int[np.ndarray, " sizes"]
    taken: Int[np.ndarray, "sizes thresholds detections"]


def match(
    overlaps: Float[np.ndarray, "detections things"],
    kinds: Int[np.ndarray, " things"],
    areas: Float[np.ndarray, " things"],
    own_areas: Float[np.ndarray, " detections"],
) -> Matches:
    """Matches one class's detections with its things in one image.

    Args:
        overlaps: IoU of each pair, the surest detection first; of a crowd the share of the detection that lies in it.
        kinds: 0: to be found; `CROWD`, `DIFFICULT`.
        areas: In pixels of the original image.
        own_areas: Of the detections, likewise.
    """
    ranges = np.array([*SIZES.values()])
    crowd = kinds == CROWD
    outside = (areas[None] < ranges[:, :1]) | (areas[None] > ranges[:, 1:])
    ignorable = outside | (kinds != 0)[None]  # [sizes, things]
    shape = (len(ranges), len(IOU_THRESHOLDS), len(own_areas))
    taken = np.full(shape, -1)
    if overlaps.size:
        _take(overlaps, crowd, ignorable, taken)
    beyond = (own_areas[None] < ranges[:, :1]) | (own_areas[None] > ranges[:, 1:])
    hits = taken >= 0
    of_ignored = np.zeros(shape, dtype=bool)
    if len(kinds):
        of_ignored = hits & ignorable[np.arange(len(ranges))[:, None, None], np.maximum(taken, 0)]
    return Matches(
        right=hits & ~of_ignored,
        ignored=of_ignored | (~hits & beyond[:, None, :]),
        num_things=(~ignorable).sum(axis=1),
        taken=taken,
    )


def _take(
    iou: Float[np.ndarray, "detections things"],
    crowd: Bool[np.ndarray, " things"],
    ignorable: Bool[np.ndarray, "sizes things"],
    taken: Int[np.ndarray, "sizes thresholds detections"],
) -> None:
    """Fills in which thing each detection takes; one that is to be found goes before any other."""
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
        chosen_things = best[sizes, levels]
        free[sizes, levels, chosen_things] = crowd[chosen_things]
