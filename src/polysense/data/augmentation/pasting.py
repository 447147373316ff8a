"""Boxes of other rows' images, pasted into a batch's own (CutMix); `data.batches.mixing` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polysense.core.batch import ColumnBatch, MixedRows

__all__ = ["pasted"]


def pasted(columns: Mapping[str, ColumnBatch], mixed: MixedRows) -> dict[str, ColumnBatch]:
    """The columns whose images are pasted into, as they are afterwards.

    An image that the row or its partner lacks is left as it is: there is nothing to paste, or nothing to paste into.

    Args:
        columns: The rows', varied.
        mixed: The partners, varied, and the boxes.
    """
    if mixed.boxes is None:
        return {}
    return {name: _pasted(columns[name], mixed.batch.columns[name], mixed.boxes) for name in mixed.pasted}


def _pasted(own: ColumnBatch, other: ColumnBatch, boxes: Float[Tensor, "batch 4"]) -> ColumnBatch:
    items = min(own.values.shape[1], other.values.shape[1])
    both = (own.lengths[:, :items] > 0) & (other.lengths[:, :items] > 0)
    inside = _inside(boxes, *own.values.shape[-2:])[:, None, None] & both[:, :, None, None, None]
    values = own.values.clone()
    values[:, :items] = torch.where(inside, other.values[:, :items], own.values[:, :items])
    return replace(own, values=values)


def _inside(boxes: Float[Tensor, "batch 4"], height: int, width: int) -> Bool[Tensor, "batch height width"]:
    """Which pixels lie in each row's box."""
    scale = torch.tensor([width, height, width, height], device=boxes.device)
    left, top, right, bottom = (edge[:, None] for edge in (boxes * scale).round().unbind(dim=1))
    x, y = torch.arange(width, device=boxes.device), torch.arange(height, device=boxes.device)
    across, along = (x >= left) & (x < right), (y >= top) & (y < bottom)
    return along[:, :, None] & across[:, None, :]
