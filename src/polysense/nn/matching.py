"""One query for each thing that is to be predicted: the assignment of least cost, as DETR has it.

Carion et al., "End-to-end object detection with transformers", ECCV 2020, section 3.1: no two things share a query, so
nothing has to be suppressed afterwards.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["match_queries"]


@torch.no_grad()
def match_queries(
    costs: Float[Tensor, "batch queries things"], wanted: Bool[Tensor, "batch things"]
) -> Int[Tensor, "batch things"]:
    """The query of each thing; -1 for things that are not to be found, and where there are more of them than queries.

    Each row by itself: the sum of the costs of what is given is the least that it can be.
    """
    from scipy.optimize import linear_sum_assignment

    result = np.full(wanted.shape, -1, dtype=np.int64)
    values, flags = costs.float().cpu().numpy(), wanted.cpu().numpy()
    for row, (own, there) in enumerate(zip(values, flags, strict=True)):
        (columns,) = np.nonzero(there)
        if len(columns):
            queries, chosen = linear_sum_assignment(np.nan_to_num(own[:, columns], nan=1e6, posinf=1e6, neginf=-1e6))
            result[row, columns[chosen]] = queries
    return torch.from_numpy(result).to(wanted.device)
