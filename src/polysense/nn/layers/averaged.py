"""Neighboring tokens averaged, so that a long sequence has no more tokens than are of use."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["averaged"]


def averaged(
    x: Float[Tensor, "items tokens width"], mask: Bool[Tensor, "items tokens"], most: int
) -> tuple[Float[Tensor, "items fewer width"], Bool[Tensor, "items fewer"]]:
    """Each item's tokens in at most so many groups of neighbors, of which each is the mean of its valid tokens.

    All groups of an item are of one size, the smallest that does, but for the last one, which may be smaller. What an
    item becomes depends on its own tokens alone, to the last bit.

    Args:
        x: Tokens.
        mask: Which are valid: of each item the first ones.
        most: Tokens that an item may have afterwards.

    Returns:
        The means, and which are valid. `fewer` is `tokens` or `most`, whichever is less.
    """
    num_tokens = x.shape[1]
    if num_tokens <= most:
        return x, mask
    counts = mask.sum(dim=1)
    sizes = (-(-counts // most)).clamp(min=1)
    result = x.new_zeros(len(x), most, x.shape[2])
    for size in sorted(set(sizes.tolist())):
        rows = (sizes == size).nonzero().flatten()
        room = most * size
        padding = max(room - num_tokens, 0)
        known = x[rows].masked_fill(~mask[rows, :, None], 0.0)
        values = F.pad(known, (0, 0, 0, padding))[:, :room].reshape(-1, most, size, x.shape[2])
        valid = F.pad(mask[rows], (0, padding))[:, :room].reshape(-1, most, size)
        # Added one by one: the order of a sum over a dimension depends on the other dimensions' sizes.
        total = values[:, :, 0]
        for offset in range(1, size):
            total = total + values[:, :, offset]
        result = result.index_copy(0, rows, total / valid.sum(dim=2, keepdim=True).clamp(min=1))
    kept = torch.arange(most, device=x.device) < (-(-counts // sizes))[:, None]
    return result, kept
