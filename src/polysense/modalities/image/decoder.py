"""Pictures: one place for each patch of pixels.

The error is squared, in the column's own standard deviations of a channel, so the best constant scores 1 whatever the
images are. It blurs what can't be known: the mean of all that an image might be has no edges.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.modalities.image.record import ImageColumn
from polysense.nn.column_decoder import ColumnDecoder, DecodingLimits
from polysense.nn.layers.draws import normals

__all__ = ["PixelDecoder"]

_MOST_PATCHES = 200  # attention among them costs their square
_STEP = 4


class PixelDecoder(ColumnDecoder):
    """Patches of an image, of a video its first frame's.

    Args:
        column: The fitted column.
        width: Of the tokens that are read.
        patch_size: Height and width of a patch in pixels, or auto.
    """

    mean: Tensor
    std: Tensor
    inside: Tensor

    column: ImageColumn

    def __init__(self, column: ImageColumn, width: int, patch_size: int | Literal["auto"]) -> None:
        height, width_in_pixels = self._size = column.image_size
        side = _patch_size(self._size) if patch_size == "auto" else min(patch_size, max(self._size))
        self._side, self._grid = side, (-(-height // side), -(-width_in_pixels // side))
        super().__init__(column, self._grid[0] * self._grid[1])
        self.output = nn.Linear(width, column.num_channels * side * side)
        self.register_buffer("mean", torch.tensor(column.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(column.std).view(-1, 1, 1), persistent=False)
        # The last patches may jut out of the image.
        inside = self._patches(torch.ones(1, column.num_channels, *self._size))[0]
        self.register_buffer("inside", inside, persistent=False)

    @classmethod
    def create(cls, column: Column, width: int, limits: DecodingLimits) -> PixelDecoder:
        return cls(ImageColumn.of(column), width, limits.patch_size)

    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch positions"]:
        return (column.lengths[:, :1] > 0).expand(-1, self.num_positions)

    def with_masked(self, column: ColumnBatch, positions: Bool[Tensor, "batch positions"]) -> ColumnBatch:
        height, width = self._size
        pixels = (
            positions.view(-1, *self._grid).repeat_interleave(self._side, dim=1).repeat_interleave(self._side, dim=2)
        )
        color = (self.mean * 255).round().to(column.values.dtype)
        values = torch.where(pixels[:, None, None, :height, :width], color, column.values)
        return dataclasses.replace(column, values=values)

    def noisy(self, column: ColumnBatch, keys: Int[Tensor, " batch"], noise: float, replace: float) -> ColumnBatch:
        if noise == 0:
            return column
        drawn = normals(keys, column.values[0].numel(), f"noise {self.column.name}").view(column.values.shape)
        values = column.values.float() + drawn * (255 * noise * self.std)
        return dataclasses.replace(column, values=values.round().clamp(0, 255).to(column.values.dtype))

    def losses(
        self,
        tokens: Float[Tensor, "batch positions width"],
        column: ColumnBatch,
        positions: Bool[Tensor, "batch positions"],
    ) -> Float[Tensor, " batch"]:
        truth = self._patches(self.truth(column)[0])
        squares: Tensor = ((self.output(tokens) - truth) ** 2 * self.inside).sum(dim=2)
        # An absent cell's storage may hold anything.
        total = squares.masked_fill(~positions, 0.0).sum(dim=1)
        return total / (positions * self.inside.sum(dim=1)).sum(dim=1).clamp(min=1.0)

    def truth(
        self, column: ColumnBatch
    ) -> tuple[Float[Tensor, "batch channels height width"], Bool[Tensor, "batch 1 1 1"]]:
        return (column.values[:, 0].float() / 255 - self.mean) / self.std, column.lengths[:, :1, None, None] > 0

    @property
    def mean_shape(self) -> tuple[int, ...]:
        return (self.column.num_channels, *self._size)

    def predict(self, tokens: Float[Tensor, "batch positions size"]) -> Float[Tensor, "batch channels height width"]:
        (height, width), (rows, columns), side = self._size, self._grid, self._side
        patches: Tensor = self.output(tokens).float().view(len(tokens), rows, columns, -1, side, side)
        whole = patches.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, rows * side, columns * side)
        return (whole[..., :height, :width] * self.std + self.mean).clamp(0.0, 1.0)

    def _patches(self, pixels: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch positions values"]:
        (height, width), (rows, columns), side = self._size, self._grid, self._side
        pixels = nn.functional.pad(pixels, (0, columns * side - width, 0, rows * side - height))
        patches = pixels.view(len(pixels), -1, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        return patches.reshape(len(pixels), rows * columns, -1)


def _patch_size(size: tuple[int, int]) -> int:
    side = _STEP
    while -(-size[0] // side) * -(-size[1] // side) > _MOST_PATCHES:
        side += _STEP
    return side
