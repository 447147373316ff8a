"""Costs of giving a query a box: how wrong class and corners are, as DETR has it (see `nn.matching`)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.tasks.detection.assignment import pairwise_iou

__all__ = ["matching_costs"]

_CLASS, _DISTANCE, _GIOU = 2.0, 5.0, 2.0
_FOCUS, _BALANCE = 2.0, 0.25  # of the class's cost, as of the focal loss (Zhu et al., "Deformable DETR", 2021)


@torch.no_grad()
def matching_costs(
    logits: Float[Tensor, "batch queries classes"],
    predicted: Float[Tensor, "batch queries 4"],
    boxes: Float[Tensor, "batch boxes 4"],
    labels: Int[Tensor, "batch boxes"],
    size: tuple[int, int],
) -> Float[Tensor, "batch queries boxes"]:
    """What it costs to give a query a box.

    Args:
        logits: Of the classes.
        predicted: Corners, in pixels.
        boxes: The true ones.
        labels: Their classes; what is out of range costs as the nearest.
        size: (height, width) of the image; distances are fractions of it.
    """
    scale = predicted.new_tensor([size[1], size[0], size[1], size[0]])
    chances = logits.sigmoid()
    own = chances.gather(2, labels.clamp(0, logits.shape[2] - 1)[:, None].expand(-1, logits.shape[1], -1))
    right = _BALANCE * (1 - own).pow(_FOCUS) * -(own + 1e-8).log()
    wrong = (1 - _BALANCE) * own.pow(_FOCUS) * -(1 - own + 1e-8).log()
    distance = (predicted[:, :, None] / scale - boxes[:, None] / scale).abs().sum(dim=3)
    return _CLASS * (right - wrong) + _DISTANCE * distance - _GIOU * _pairwise_giou(predicted, boxes)


def _pairwise_giou(
    first: Float[Tensor, "batch some 4"], second: Float[Tensor, "batch others 4"]
) -> Float[Tensor, "batch some others"]:
    """Generalized IoU of each box with each other one of its row."""
    low = torch.minimum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.maximum(first[:, :, None, 2:], second[:, None, :, 2:])
    around = (high - low).clamp(min=0).prod(dim=3).clamp(min=1e-7)
    own, other = ((each[..., 2:] - each[..., :2]).clamp(min=0).prod(dim=2) for each in (first, second))
    iou = pairwise_iou(first, second)
    either = (own[:, :, None] + other[:, None]) / (1 + iou)  # both = iou * either
    result: Tensor = iou - (around - either) / around
    return result
