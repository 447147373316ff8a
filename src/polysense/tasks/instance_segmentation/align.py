"""Masks moved as augmentation has moved their images; what comes in from outside is no thing."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.data.augmentation.warp import warp
from polysense.tasks.instance_segmentation.record import InstanceTarget
from polysense.tasks.instance_segmentation.truth import InstanceTruth

__all__ = ["align"]

_LEAST_LEFT = 0.1  # of a thing's pixels; of what is nearly gone nothing is to be found


def align(
    target: InstanceTarget, truth: InstanceTruth, matrices: Float[Tensor, "batch 3 3"], column: ColumnBatch
) -> InstanceTruth:
    """See `TaskSpec.align`."""
    moved = warp(truth.masks, matrices, nearest=True)
    scale = (matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0]).abs().nan_to_num(1.0)
    before, after = (each.flatten(2).sum(dim=2).float() for each in (truth.masks, moved))
    kept = after >= _LEAST_LEFT * scale[:, None] * before
    return replace(truth, masks=moved * kept[:, :, None, None])
