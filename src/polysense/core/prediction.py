"""Prediction: what a head says of a batch's rows, arrays by name with rows first, and how they leave torch.

Which arrays there are is the head's and its task's business. They are decoded and summed up batch by batch, so that no
mask, image or long text has to be kept for a whole table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported

__all__ = ["Prediction", "as_arrays", "with_prior"]

Prediction: TypeAlias = Mapping[str, Shaped[Tensor, "batch ..."]]
"""What `Head.predict` and `Head.score` give."""


def as_arrays(tensors: Prediction, rows: Bool[Tensor, " batch"] | slice = slice(None)) -> dict[str, np.ndarray]:
    """Some rows of tensors as arrays in main memory; bfloat16, which numpy lacks, as float32."""
    return {
        name: (value.float() if value.dtype is torch.bfloat16 else value).cpu()[rows].numpy()
        for name, value in tensors.items()
    }


def with_prior(prediction: Prediction, target: Target, empty: Bool[Tensor, " batch"]) -> dict[str, Tensor]:
    """A prediction with the training prior in the rows that have nothing in them.

    Args:
        prediction: Of a head.
        target: The head's.
        empty: Which rows; where their task has no prior, they keep what the head says.
    """
    prior = task(target.task).prior
    if isinstance(prior, Unsupported):
        return dict(prediction)
    results = dict(prediction)
    for name, row in prior(target).items():
        if (value := prediction.get(name)) is not None:
            mask = empty.to(value.device).reshape(-1, *(1 for _ in value.shape[1:]))
            results[name] = torch.where(mask, torch.as_tensor(row, dtype=value.dtype, device=value.device), value)
    return results
