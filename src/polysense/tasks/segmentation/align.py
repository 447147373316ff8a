"""Masks moved as augmentation has moved their images; what comes in from outside is void."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import ColumnBatch, ValueTruth
from polysense.data.augmentation.warp import warp
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["align"]


def align(
    target: SegmentationTarget, truth: ValueTruth, matrices: Float[Tensor, "batch 3 3"], column: ColumnBatch
) -> ValueTruth:
    """See `TaskSpec.align`."""
    moved = warp(truth.values[:, None], matrices, nearest=True, fill=float(target.void))
    return replace(truth, values=moved[:, 0])
