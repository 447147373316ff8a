"""Groups of items of similar length, so that a short item is not padded to the longest one of its batch.

A column's items, one in each cell or many, differ in length: the turns of a dialogue, the clips of an interview. Padded
to one shape, lists of texts are mostly padding (benchmarks/list_padding.py measures it). So items are encoded in
groups, each padded to a length of its own: the batch's longest, half of it, a quarter, an eighth.

In training a group is as large as it is, and is joined with the next longer one where it saves less than another run of
the encoder costs. At prediction an item's group depends on its own length alone and every run has the same number of
items, filled up with absent ones: matrix libraries choose a kernel by shape, and an item may not change another's bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["ItemGroup", "blocks_of_items", "groups_of_items", "padded_lengths"]

_MOST_LENGTHS = 4
_LEAST_SHARE = 1 / 8  # of all positions that a group must save
_COST_OF_A_RUN = {"cpu": 256.0}  # positions in whose time an encoder of two layers starts once more, forward and back
_COST_ELSEWHERE = 16_384.0  # an accelerator computes that many positions while another kernel is launched


@dataclass(frozen=True, eq=False)
class ItemGroup:
    """Items that are encoded together.

    Attributes:
        items: Which of all items; ascending.
        length: The length that they are padded to.
        num_absent: Absent items that fill the group's shape.
    """

    items: Int[Tensor, " some"]
    length: int
    num_absent: int = 0


def padded_lengths(longest: int, multiple: int | None) -> list[int]:
    """The lengths that items of at most `longest` are padded to, ascending; all are `longest` where items have none."""
    lengths = [longest]
    while multiple is not None and len(lengths) < _MOST_LENGTHS:
        half = -(-lengths[-1] // (2 * multiple)) * multiple
        if half >= lengths[-1]:
            break
        lengths.append(half)
    return lengths[::-1]


def groups_of_items(
    lengths: Int[Tensor, " items"], longest: int, multiple: int | None, *, cost: float = 1.0
) -> list[ItemGroup]:
    """The present items by length, as many lengths as pay.

    Args:
        lengths: Of all items; 0 = absent. On an accelerator it is waited for.
        longest: What they are padded to.
        multiple: `ModalitySpec.length_multiple`.
        cost: Positions of an encoder for each position of an item, `ModalitySpec.cost`.
    """
    present = lengths.nonzero().flatten()
    sizes = padded_lengths(longest, multiple)
    if len(sizes) == 1 or not len(present):
        return [ItemGroup(present, longest)] if len(present) else []
    of_item = _fitting(lengths[present], sizes)
    counts = torch.bincount(of_item, minlength=len(sizes)).tolist()
    least = max(_COST_OF_A_RUN.get(lengths.device.type, _COST_ELSEWHERE), _LEAST_SHARE * cost * longest * len(present))
    groups: list[ItemGroup] = []
    waiting: list[int] = []
    for i, size in enumerate(sizes):
        waiting.append(i)
        number = sum(counts[j] for j in waiting)
        following = next((sizes[j] for j in range(i + 1, len(sizes)) if counts[j]), None)
        if number and (following is None or cost * number * (following - size) >= least):
            chosen = (of_item >= waiting[0]) & (of_item <= i)
            groups.append(ItemGroup(present[chosen], size))
            waiting = []
    return groups


def blocks_of_items(
    lengths: Int[Tensor, " items"], longest: int, multiple: int | None, *, block: int
) -> list[ItemGroup]:
    """The present items in blocks of one size, each of one length, which depends on the item alone.

    Args:
        lengths: As of `groups_of_items`.
        longest: What all items are padded to, a function of the row alone too.
        multiple: `ModalitySpec.length_multiple`.
        block: Items of a run of the encoder; what is missing is absent items.
    """
    present = lengths.nonzero().flatten()
    sizes = padded_lengths(longest, multiple)
    of_item = _fitting(lengths[present], sizes) if len(sizes) > 1 else torch.zeros_like(present)
    groups = []
    for i, size in enumerate(sizes):
        for items in torch.split(present[of_item == i], block):
            if len(items):
                groups.append(ItemGroup(items, size, block - len(items)))
    return groups


def _fitting(lengths: Int[Tensor, " items"], sizes: Sequence[int]) -> Int[Tensor, " items"]:
    """Which of some ascending lengths is the first that holds each item."""
    return torch.bucketize(lengths, torch.tensor(sizes, device=lengths.device))
