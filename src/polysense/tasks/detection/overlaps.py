"""How much boxes overlap."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["box_areas", "overlaps"]


def box_areas(corners: Float[np.ndarray, "boxes 4"]) -> Float[np.ndarray, " boxes"]:
    """In the corners' pixels; 0 of a box whose sides are turned around."""
    areas: np.ndarray = np.clip(corners[:, 2:] - corners[:, :2], 0, None).prod(axis=1)
    return areas


def overlaps(
    detections: Float[np.ndarray, "detections 4"],
    boxes: Float[np.ndarray, "boxes 4"],
    crowd: Bool[np.ndarray, " boxes"] | None = None,
) -> Float[np.ndarray, "detections boxes"]:
    """IoU of each pair; of a crowd the share of the detection that lies in it."""
    low = np.maximum(detections[:, None, :2], boxes[None, :, :2])
    high = np.minimum(detections[:, None, 2:], boxes[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    own, other = box_areas(detections), box_areas(boxes)
    either = own[:, None] + other[None, :] - both
    if crowd is not None:
        either = np.where(crowd[None, :], own[:, None], either)
    result: np.ndarray = both / np.where(either > 0, either, 1.0)
    return result
