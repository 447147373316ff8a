"""Which places of an image are to find which box, decided anew in every step by what the head finds best itself.

SimOTA (Ge et al., "YOLOX", 2021, section 2.1): a place may find a box if its center lies in the box or near the box's
own center; each pair has a cost, by how wrong class and corners are; a box is given to the k cheapest places, where k
is the sum of its ten best IoUs; a place that several boxes were given to keeps the cheapest. So small boxes have few
places and large ones many, on whichever level suits, and no sizes of anchors are to be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Assignment", "assign", "pairwise_iou"]

_NEAR = 2.5  # strides from the center of a box
_MOST = 10  # places of a box, and IoUs that say how many
_IOU_COST = 3.0
_OUTSIDE = 1e5  # what is not both in the box and near its center comes last
_NEVER = 1e9


@dataclass(frozen=True, eq=False)
class Assignment:
    """What each place is to find.

    Attributes:
        box: The position of its box; meaningless where there is none.
        assigned: Whether it has one.
        iou: Of what it predicts with that box; 0 without one.
        places: How many places each box has.
    """

    box: Int[Tensor, "batch places"]
    assigned: Bool[Tensor, "batch places"]
    iou: Float[Tensor, "batch places"]
    places: Int[Tensor, "batch boxes"]


@torch.no_grad()
def assign(
    logits: Float[Tensor, "batch places classes"],
    predicted: Float[Tensor, "batch places 4"],
    centers: Float[Tensor, "places 2"],
    strides: Float[Tensor, " places"],
    boxes: Float[Tensor, "batch boxes 4"],
    labels: Int[Tensor, "batch boxes"],
    wanted: Bool[Tensor, "batch boxes"],
) -> Assignment:
    """Assigns places to boxes; each row by itself.

    Args:
        logits: Of the classes at each place.
        predicted: The box that each predicts.
        centers: x and y of each.
        strides: Of its level, in pixels.
        boxes: The true ones.
        labels: Their classes.
        wanted: Which of them are to be found.
    """
    x, y = centers[None, :, None, 0], centers[None, :, None, 1]
    left, top, right, bottom = boxes[:, None].unbind(dim=3)
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    reach = _NEAR * strides[None, :, None]
    near = ((x - (left + right) / 2).abs() < reach) & ((y - (top + bottom) / 2).abs() < reach)
    may = (inside | near) & wanted[:, None]
    iou = pairwise_iou(predicted, boxes) * may
    scores = logits.gather(2, labels.clamp(0, logits.shape[2] - 1)[:, None].expand(-1, logits.shape[1], -1))
    wrong = F.binary_cross_entropy_with_logits(scores, iou, reduction="none") * (iou - scores.sigmoid()).square()
    cost = wrong - _IOU_COST * (iou + 1e-7).log() + _OUTSIDE * ~(inside & near)
    cost = cost.masked_fill(~may, _NEVER)
    most = min(_MOST, iou.shape[1])
    num = iou.topk(most, dim=1).values.sum(dim=1).long().clamp(min=1)
    order = cost.topk(most, dim=1, largest=False)
    cheapest = (torch.arange(most, device=cost.device)[None, :, None] < num[:, None]) & (order.values < _NEVER)
    given = torch.zeros_like(may).scatter(1, order.indices, cheapest)
    own = cost.masked_fill(~given, _NEVER).argmin(dim=2)
    assigned = given.any(dim=2)
    picked = F.one_hot(own, boxes.shape[1]).bool() & assigned[:, :, None]
    return Assignment(own, assigned, (iou * picked).sum(dim=2), picked.sum(dim=1))


def pairwise_iou(
    first: Float[Tensor, "batch some 4"], second: Float[Tensor, "batch others 4"]
) -> Float[Tensor, "batch some others"]:
    """IoU of each box with each other one of its row; 0 where neither has an area."""
    low = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    both = (high - low).clamp(min=0).prod(dim=3)
    own, other = ((each[..., 2:] - each[..., :2]).clamp(min=0).prod(dim=2) for each in (first, second))
    result: Tensor = both / (own[:, :, None] + other[:, None] - both).clamp(min=1e-7)
    return result
