"""Warping: planes of pixels moved by a matrix, each row by its own.

Images in training and the masks that follow them are sampled here, so that both agree to the last pixel. Coordinates
are those of `core.geometry`: pixel i spans [i, i + 1]. Everything is written out per row: a batched matrix product may
round otherwise for another batch size, and a row depends on itself alone.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

__all__ = ["composed", "inverse", "of_single_items", "sample", "shifted", "warp"]


def warp(
    planes: Shaped[Tensor, "rows channels height width"],
    matrices: Float[Tensor, "rows 3 3"],
    size: tuple[int, int] | None = None,
    *,
    nearest: bool = False,
    fill: float | int = 0,
) -> Shaped[Tensor, "rows channels new_height new_width"]:
    """Moves planes: what lies at a point p comes to lie at matrix @ p.

    Args:
        planes: Of any type; bilinear sampling rounds integers.
        matrices: Affine, from the planes to the result. A row with NaN in it comes out as `fill`.
        size: (height, width) of the result; the planes' own by default.
        nearest: For class ids, which have no mean.
        fill: What comes in from outside, such as the void label.
    """
    return sample(planes, inverse(matrices), size, nearest=nearest, fill=fill)


def sample(
    planes: Shaped[Tensor, "rows channels height width"],
    sources: Float[Tensor, "rows 3 3"],
    size: tuple[int, int] | None = None,
    *,
    nearest: bool = False,
    fill: float | int = 0,
) -> Shaped[Tensor, "rows channels new_height new_width"]:
    """As `warp`, by the inverse matrices: from a point of the result to where it is taken from."""
    height, width = planes.shape[2:]
    new_height, new_width = size or (height, width)
    x = torch.arange(new_width, device=planes.device)[None, None, :, None] + 0.5
    y = torch.arange(new_height, device=planes.device)[None, :, None, None] + 0.5
    # In grid_sample's coordinates, where -1 and 1 are the planes' edges.
    scales = 2 / width, 2 / height
    of_x, of_y, offset = (
        torch.stack([sources[:, row, column] * scale for row, scale in enumerate(scales)], dim=1)[:, None, None]
        for column in range(3)
    )
    # A grid of NaN would be read as the first pixel; -4 lies outside.
    offset = (offset - 1).nan_to_num(-4.0)
    grid = of_x.nan_to_num(0.0) * x + (of_y.nan_to_num(0.0) * y + offset)
    values = planes if planes.dtype is torch.float32 else planes.float()
    if fill:
        values = values - fill
    mode = "nearest" if nearest else "bilinear"
    values = F.grid_sample(values, grid, mode=mode, padding_mode="zeros", align_corners=False)
    if fill:
        values = values + fill
    if planes.dtype.is_floating_point:
        return values.to(planes.dtype)
    return (values if nearest else values.round()).to(planes.dtype)


def inverse(matrices: Float[Tensor, "rows 3 3"]) -> Float[Tensor, "rows 3 3"]:
    """The inverse of affine matrices."""
    (a, b, x), (c, d, y) = (matrices[:, i].unbind(dim=1) for i in range(2))
    scale = 1 / (a * d - b * c)
    rows = [d, -b, b * y - d * x], [-c, a, c * x - a * y]
    upper = torch.stack([torch.stack(row, dim=1) * scale[:, None] for row in rows], dim=1)
    return torch.cat([upper, matrices[:, 2:]], dim=1)


def composed(after: Float[Tensor, "rows 3 3"], before: Float[Tensor, "rows 3 3"]) -> Float[Tensor, "rows 3 3"]:
    """One matrix for two, `after @ before`."""
    parts = [after[:, :, i : i + 1] * before[:, i : i + 1, :] for i in range(3)]
    return parts[0] + parts[1] + parts[2]


def shifted(later: Shaped[Tensor, "batch items"], lengths: Int[Tensor, "batch items"]) -> Float[Tensor, "batch 3 3"]:
    """How rows moved whose items begin a number of steps later than before.

    Args:
        later: Steps; negative where the beginning was cut off.
        lengths: Of the items, 0 where absent.
    """
    moved = torch.eye(3, device=later.device).repeat(len(later), 1, 1)
    moved[:, 0, 2] = later[:, 0].float()
    return of_single_items(moved, lengths)


def of_single_items(
    matrices: Float[Tensor, "batch 3 3"], lengths: Int[Tensor, "batch items"]
) -> Float[Tensor, "batch 3 3"]:
    """The matrices of rows' first items, NaN where a row has several: each of them moved in a way of its own."""
    if lengths.shape[1] == 1:
        return matrices
    return matrices.masked_fill(((lengths > 0).sum(dim=1) > 1)[:, None, None], torch.nan)
