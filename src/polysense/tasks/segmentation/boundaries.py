"""How well the outlines of a mask lie: F1 of its boundary pixels, image by image and class by class.

Overlap says little of outlines, since most pixels of a large region lie far from them. A predicted boundary pixel is
right if a true one of its class lies within a tolerance of .75% of the image's diagonal, and a true one is hit likewise
(Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013, section 3.2).

A class's boundary pixels are those beside a pixel of something else; the image's edge is no boundary, and neither is
that of void pixels, which nobody has looked at.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Integer

from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["boundary_scores"]

_TOLERANCE = 0.0075  # of the diagonal


def boundary_scores(
    target: SegmentationTarget, truth: Integer[np.ndarray, "images height width"],
    predicted: Integer[np.ndarray, "images height width"],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Each image's F1 by class.

    Args:
        target: The segmentation.
        truth: Ids.
        predicted: Likewise.

    Returns:
        "boundary_f1", float64 [images, classes], NaN where neither mask has a boundary of the class, and
        "has_boundary", bool [images, classes], where the true one has.
    """
    scores = np.full((len(truth), target.other), np.nan)
    has_boundary = np.zeros(scores.shape, dtype=bool)
    for image, (true, own) in enumerate(zip(truth, predicted, strict=True)):
        guess = np.where(true == target.void, target.void, own)
        edges, guessed = (_edges(plane, target.void) for plane in (true, guess))
        tolerance = max(1.0, _TOLERANCE * math.hypot(*true.shape))
        occur = np.union1d(true[edges], guess[guessed])
        for index in occur[occur < target.other].tolist():
            there, said = edges & (true == index), guessed & (guess == index)
            has_boundary[image, index] = there.any()
            scores[image, index] = _f1(there, said, tolerance)
    return {"boundary_f1": scores, "has_boundary": has_boundary}


def _edges(plane: Integer[np.ndarray, "height width"], void: int) -> Bool[np.ndarray, "height width"]:
    """Pixels above, below or beside one of another class."""
    edges = np.zeros(plane.shape, dtype=bool)
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differs = (plane[one] != plane[other]) & (plane[one] != void) & (plane[other] != void)
        edges[one] |= differs
        edges[other] |= differs
    return edges


def _f1(true: Bool[np.ndarray, "height width"], said: Bool[np.ndarray, "height width"], tolerance: float) -> float:
    if not true.any() or not said.any():
        return 0.0
    precision, recall = _near(said, true, tolerance), _near(true, said, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(some: Bool[np.ndarray, "height width"], others: Bool[np.ndarray, "height width"], tolerance: float) -> float:
    """The share of some pixels that have one of the others near."""
    from scipy.ndimage import distance_transform_edt

    distances: Float[np.ndarray, "height width"] = distance_transform_edt(~others)
    return float((distances[some] <= tolerance).mean())
