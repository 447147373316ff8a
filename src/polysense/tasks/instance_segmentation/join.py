"""Things of several images that were put together into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import pad

from polysense.tasks.instance_segmentation.record import InstanceTarget
from polysense.tasks.instance_segmentation.truth import InstanceTruth

__all__ = ["join"]


def join(
    target: InstanceTarget, truths: Sequence[InstanceTruth], inside: Bool[Tensor, "batch items height width"]
) -> InstanceTruth:
    """See `TaskSpec.join`: the things of all, each as far as its own image is seen."""
    most = max(truth.runs.shape[2] for truth in truths)
    masks = [truth.masks * inside[:, item, None] for item, truth in enumerate(truths)]
    runs = [pad(truth.runs, (0, most - truth.runs.shape[2])) for truth in truths]
    rest = {name: torch.cat([getattr(truth, name) for truth in truths], dim=1) for name in ("labels", "kinds", "areas")}
    return replace(truths[0], masks=torch.cat(masks, dim=1), runs=torch.cat(runs, dim=1), **rest)
