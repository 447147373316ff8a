"""Boxes moved as augmentation has moved their images.

A turned box becomes the upright one around its corners. Of what left the image a rest of less than a tenth is nothing
to find any more.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.truth import BoxTruth

__all__ = ["align"]

_LEAST_LEFT = 0.1  # of a box's area


def align(
    target: DetectionTarget, truth: BoxTruth, matrices: Float[Tensor, "batch 3 3"], column: ColumnBatch
) -> BoxTruth:
    """See `TaskSpec.align`."""
    (a, b, x), (c, d, y) = (matrices[:, i, :, None, None].unbind(dim=1) for i in range(2))
    columns, rows = truth.boxes[..., [0, 2, 0, 2]], truth.boxes[..., [1, 1, 3, 3]]
    xs, ys = a * columns + b * rows + x, c * columns + d * rows + y
    moved = torch.stack([xs.amin(-1), ys.amin(-1), xs.amax(-1), ys.amax(-1)], dim=-1)
    height, width = target.size
    most = moved.new_tensor([width, height, width, height])
    cut = torch.minimum(moved.clamp(min=0), most)
    left = _areas(cut) >= _LEAST_LEFT * _areas(moved)
    there = (_areas(truth.boxes) > 0) & (_areas(cut) > 0) & left  # NaN is neither
    return replace(truth, boxes=torch.where(there[..., None], cut, 0.0))


def _areas(boxes: Float[Tensor, "batch boxes 4"]) -> Float[Tensor, "batch boxes"]:
    sides: Tensor = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides.prod(dim=-1)
