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

__all__ = ["Prediction", "as_arrays"]

Prediction: TypeAlias = Mapping[str, Shaped[Tensor, "batch ..."]]
"""What `Head.predict` and `Head.score` give."""


def as_arrays(tensors: Prediction, rows: Bool[Tensor, " batch"] | slice = slice(None)) -> dict[str, np.ndarray]:
    """Some rows of tensors as arrays in main memory; bfloat16, which numpy lacks, as float32."""
    return {
        name: (value.float() if value.dtype is torch.bfloat16 else value).cpu()[rows].numpy()
        for name, value in tensors.items()
    }
