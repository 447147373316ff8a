"""What a language model reads before it writes, put together by gathering: one order for each row, padded at the left.

The pieces come as one long sequence with a key for each position: where in the row's own order it stands, or that it
is not there. Sorting the keys puts what is not there first, so every row ends at the same place, whatever it lacks, and
an answer follows at once. Positions are counted over what is there; so neither padding nor a missing column shifts
anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["MOST_ITEMS", "Prefix", "assemble", "order_with_placeholders"]


#: More items than a cell has.
MOST_ITEMS = 2**16


@dataclass(frozen=True, eq=False)
class Prefix:
    """Embeddings of what is read before the answer.

    Attributes:
        values: [batch, length, embedding]; zeros where masked out.
        mask: [batch, length]; True = valid. Valid positions come last, and the last one is always valid.
        slots: [batch, pieces]: where each of the pieces that it was made of went; of one that is not there, anything.
    """

    values: Float[Tensor, "batch length embedding"]
    mask: Bool[Tensor, "batch length"]
    slots: Int[Tensor, "batch length"]


def assemble(
    values: Float[Tensor, "batch length embedding"],
    mask: Bool[Tensor, "batch length"],
    keys: Int[Tensor, "batch length"],
) -> Prefix:
    """Sorts pieces.

    Args:
        values: The pieces.
        mask: Which of them are there.
        keys: Each one's place in the order, at least 0; equal ones stay as they come.
    """
    order = keys.masked_fill(~mask, -1).argsort(dim=1, stable=True)
    sorted_mask = mask.gather(1, order)
    # A masked selection, not a product: what is not there may not be finite.
    picked = values.gather(1, order[:, :, None].expand_as(values)).masked_fill(~sorted_mask[:, :, None], 0.0)
    slots = order.argsort(dim=1)
    return Prefix(picked, sorted_mask, slots)


def order_with_placeholders(
    ids: Int[Tensor, "batch length"],
    mask: Bool[Tensor, "batch length"],
    groups: Int[Tensor, "batch media"],
    present: Bool[Tensor, "batch media"],
    first: int,
) -> tuple[Int[Tensor, "batch media"], Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Where media stand among a prompt's tokens: the n-th item of a column at the n-th placeholder of that column.

    An item without a placeholder stands in front of the prompt, a placeholder is dropped.

    Args:
        ids: The prompt's token ids.
        mask: Which of them are there.
        groups: Of each media token which item of which column it belongs to, as column * 2^16 + item, where columns
            are counted as their placeholders are; below 0 for a column that has no placeholder.
        present: Which media tokens are there.
        first: The token id of the first column's placeholder; the others follow.

    Returns:
        Keys of the media tokens, keys of the prompt's tokens, and which of these are there.
    """
    column = (ids - first).clamp(min=-1)
    is_placeholder = (column >= 0) & mask
    # The n of each placeholder among those of its own column: [batch, length, length] booleans, a few kB a row.
    same = (column[:, :, None] == column[:, None, :]) & is_placeholder[:, None, :]
    rank = same.tril(diagonal=-1).sum(dim=2)
    group = torch.where(is_placeholder, column * MOST_ITEMS + rank, -1)
    groups = torch.where(groups < 0, -2, groups)
    # Each token of the prompt has the key 1 + its position; what is in front has 0.
    result = group[:, None, :] == groups[:, :, None]
    position = torch.arange(1, ids.shape[1] + 1, device=ids.device)
    media_keys = (result * position).amax(dim=2) if ids.shape[1] else torch.zeros_like(groups)
    return media_keys.masked_fill(~present, 0), position.expand_as(ids), mask & ~is_placeholder
