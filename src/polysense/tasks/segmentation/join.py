"""Masks of several images that were put together into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from polysense.core.batch import ValueTruth
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["join"]


def join(
    target: SegmentationTarget, truths: Sequence[ValueTruth], inside: Bool[Tensor, "batch items height width"]
) -> ValueTruth:
    """See `TaskSpec.join`: each place has the class of the image that it shows."""
    values = truths[0].values
    for item, truth in enumerate(truths[1:], start=1):
        values = torch.where(inside[:, item], truth.values, values)
    return replace(truths[0], values=values)
