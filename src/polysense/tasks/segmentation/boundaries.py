"""How well the outlines of a mask lie: F1 of its boundary pixels, and IoU of the bands along them, class by class.

Overlap says little of outlines, since most pixels of a large region lie far from them. A predicted boundary pixel is
right if a true one of its class lies within a tolerance of .75% of the image's diagonal, and a true one is hit likewise
(Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013, section 3.2).

Boundary IoU is that of the pixels of a class that lie within 2% of the diagonal of something else (Cheng et al.,
"Boundary IoU", CVPR 2021, section 4; distances are those of a king in chess, as of its authors' erosion). It falls with
every pixel by which an outline is off, where the F1 has a tolerance, and counts no inner pixels, as IoU does.

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
_BAND = 0.02  # likewise


def boundary_scores(
    target: SegmentationTarget, truth: Integer[np.ndarray, "images height width"],
    predicted: Integer[np.ndarray, "images height width"],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Each image's F1 by class, and the pixels of its bands.

    Args:
        target: The segmentation.
        truth: Ids.
        predicted: Likewise.

    Returns:
        "boundary_f1", float64 [images, classes], NaN where neither mask has a boundary of the class, and
        "has_boundary", bool [images, classes], where the true one has; "band_truth", "band_predicted" and "band_both",
        int64 [images, classes], the pixels within 2% of the diagonal of an outline.
    """
    scores = np.full((len(truth), target.other), np.nan)
    bands = {name: np.zeros(scores.shape, dtype=np.int64) for name in ("band_truth", "band_predicted", "band_both")}
    has_boundary = np.zeros(scores.shape, dtype=bool)
    for image, (true, own) in enumerate(zip(truth, predicted, strict=True)):
        guess = np.where(true == target.void, target.void, own)
        edges, guessed = (_edges(plane, target.void) for plane in (true, guess))
        diagonal = math.hypot(*true.shape)
        tolerance, width = max(1.0, _TOLERANCE * diagonal), max(1, round(_BAND * diagonal))
        occur = np.union1d(true[edges], guess[guessed])
        for index in occur[occur < target.other].tolist():
            there, said = edges & (true == index), guessed & (guess == index)
            has_boundary[image, index] = there.any()
            scores[image, index] = _f1(there, said, tolerance)
            band, guessed_band = (_band(plane, index, target.void, width) for plane in (true, guess))
            for name, pixels in zip(bands, (band, guessed_band, band & guessed_band), strict=True):
                bands[name][image, index] = pixels.sum()
    return {"boundary_f1": scores, "has_boundary": has_boundary, **bands}


def _band(plane: Integer[np.ndarray, "height width"], index: int, void: int, width: int) -> Bool[np.ndarray, "h w"]:
    """A class's pixels with something else that is known within `width` pixels, also across corners."""
    from scipy.ndimage import distance_transform_cdt

    own = plane == index
    inner = own | (plane == void)
    if inner.all() or not own.any():
        return np.zeros(plane.shape, dtype=bool)
    result: np.ndarray = own & (distance_transform_cdt(inner, metric="chessboard") <= width)
    return result


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
