"""Boxes of several images that were put together into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.truth import BoxTruth

__all__ = ["join"]


def join(
    target: DetectionTarget, truths: Sequence[BoxTruth], inside: Bool[Tensor, "batch items height width"]
) -> BoxTruth:
    """See `TaskSpec.join`: the boxes of all, each of which lies within its own image already."""

    def together(name: str) -> Tensor:
        return torch.cat([getattr(truth, name) for truth in truths], dim=1)

    fields = {name: together(name) for name in ("boxes", "labels", "kinds", "originals", "areas")}
    return replace(truths[0], **fields)
