"""Features of single items from a frozen network, such that an item's depend on that item alone, to the last bit.

A matrix product takes another routine for another shape, so an item's features would change in their last bits with
the number of items that are run beside it and with the padding. What is to be kept and to be equal to what is computed
again therefore runs in one shape: on a CPU each item alone at its own length, which costs nothing for pictures and
audio (MobileNetV2: 61 ms a picture alone, 87 ms in eights, 207 ms in batches of 32) and about twice the time for short
texts; elsewhere in blocks of 32 items, filled up, of one length that is rounded up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from polysense.core.tokens import Tokens

__all__ = ["ItemFeatures", "item_features"]

_BLOCK = 32  # items; see `data.batches.blocks` for why no other number
_MULTIPLE = 8  # of a block's length


class ItemFeatures(NamedTuple):
    """Valid tokens of one item at each layer, in order, and the grid in which they lie.

    Attributes:
        layers: Of one number of tokens.
        grid: () for a sequence, whose tokens are as many as the item has.
        levels: Of the pyramid, from fine to coarse, where the network gives one; each of a number of its own.
    """

    layers: tuple[Float[Tensor, "tokens _width"], ...]
    grid: tuple[int, ...]
    levels: tuple[Float[Tensor, "_cells _width"], ...] = ()

    @property
    def every(self) -> tuple[Tensor, ...]:
        """Layers and levels, as they are stored."""
        return self.layers + self.levels


def item_features(
    run: Callable[[Shaped[Tensor, "items ..."], Int[Tensor, " items"]], Sequence[Tokens]],
    values: Shaped[Tensor, "items ..."],
    lengths: Int[Tensor, " items"],
) -> list[ItemFeatures]:
    """Runs a network over items, all of which are there.

    Args:
        run: The network's layers for items; what one item gives may not depend on those beside it but for rounding.
        values: Padded.
        lengths: Of the items, at least 1.
    """
    has_length = values.dim() == 2
    sizes = lengths.tolist()
    if values.is_cpu:
        parts = [[index] for index in range(len(sizes))]
    else:
        groups = defaultdict(list)
        for index, size in enumerate(sizes):
            groups[-(-size // _MULTIPLE) if has_length else 0].append(index)
        parts = [rows[low : low + _BLOCK] for rows in groups.values() for low in range(0, len(rows), _BLOCK)]
    results: dict[int, ItemFeatures] = {}
    for part in parts:
        filled = part if values.is_cpu else part + part[:1] * (_BLOCK - len(part))
        rows, counts = values[filled], lengths[filled]
        if has_length:
            longest = max(sizes[index] for index in part)
            longest = longest if values.is_cpu else -(-longest // _MULTIPLE) * _MULTIPLE
            rows = F.pad(rows[:, :longest], (0, max(longest - rows.shape[1], 0)))
        layers = run(rows.contiguous(), counts)
        for position, index in enumerate(part):
            results[index] = _valid(layers, position)
    return [results[index] for index in range(len(sizes))]


def _valid(layers: Sequence[Tokens], position: int) -> ItemFeatures:
    masks = [layer.mask[position] for layer in layers]
    grid, pyramid = layers[-1].grid, layers[-1].pyramid
    if len(grid) > 1:
        assert all(bool(mask.all()) for mask in masks), "a grid has no padding"
    assert all(bool(level.mask[position].all()) for level in pyramid), "a level has no padding"
    values = [layer.values[position][mask].float() for layer, mask in zip(layers, masks, strict=True)]
    assert len({len(each) for each in values}) == 1, "layers of one number of tokens"
    levels = tuple(level.values[position].float() for level in pyramid)
    return ItemFeatures(tuple(values), grid if len(grid) > 1 else (), levels)
