"""A convolutional network's last feature map as tokens: what all such image encoders share.

Every cell of the map becomes one token. A classifier would average the cells (ResNet) or flatten them (VGG, and every
first CNN in a textbook); which of the two suits depends on the image. A photograph shows its subject anywhere, so each
cell has the same projection, and the tokens' mean is what averaging gives. A small image (a digit, a symbol) is drawn
to its frame: each cell has its own projection, and the tokens' mean is what flattening gives.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polysense.core.tokens import PyramidLevel, Tokens
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import Draws, Encoder, Items, Lengths
from polysense.nn.layers.batchnorm import BatchNorm, over_present
from polysense.nn.layers.pixels import Standardize
from polysense.nn.layers.transformer import sinusoidal

__all__ = [
    "SMALL",
    "CellProjection",
    "FeatureMap",
    "FeatureNetwork",
    "each_cell_its_own",
    "grid_positions",
    "image_level",
    "image_tokens",
    "levels_of",
]

SMALL = 64  # pixels: the side up to which an image counts as drawn to its frame


def grid_positions(grid: tuple[int, int], width: int, device: torch.device) -> Float[Tensor, "cells width"]:
    """2-D sinusoidal position embeddings of a grid's cells: half the width for the row, half for the column."""
    (height, columns), half = grid, width // 2
    rows = sinusoidal(torch.arange(height, device=device), half)[:, None, :].expand(-1, columns, -1)
    cols = sinusoidal(torch.arange(columns, device=device), width - half)[None, :, :].expand(height, -1, -1)
    return torch.cat([rows, cols], dim=-1).flatten(0, 1)


def image_tokens(
    values: Float[Tensor, "items cells width"], grid: tuple[int, int], lengths: Int[Tensor, " items"]
) -> Tokens:
    """A feature map's cells, row by row, as tokens with 2-D sinusoidal positions."""
    positions = grid_positions(grid, values.shape[-1], values.device)
    mask = (lengths > 0)[:, None].expand(-1, values.shape[1])
    return Tokens(values + 0.1 * positions.to(values.dtype), mask, grid)


def image_level(feature_map: Float[Tensor, "items channels height columns"], lengths: Int[Tensor, " items"]) -> Tokens:
    """A feature map as a level of a pyramid."""
    values = feature_map.flatten(2).transpose(1, 2)
    grid = (feature_map.shape[2], feature_map.shape[3])
    return Tokens(values, (lengths > 0)[:, None].expand(-1, values.shape[1]), grid)


def levels_of(maps: Sequence[Tensor], image_size: tuple[int, int]) -> tuple[PyramidLevel, ...]:
    """How a pretrained network's feature maps, of a trial image, lie over the pixels.

    A patch divides the image; where it does not, sides were halved, up or down.
    """
    levels = []
    for each in maps:
        grid = (each.shape[2], each.shape[3])
        exact = len(maps) == 1 and all(side % cells == 0 for side, cells in zip(image_size, grid, strict=True))
        ratios = [side / cells for side, cells in zip(image_size, grid, strict=True)]
        stride = tuple(int(ratio) if exact else 2 ** round(math.log2(ratio)) for ratio in ratios)
        levels.append(PyramidLevel(stride=stride, width=each.shape[1], grid=grid))
    return tuple(levels)


class CellProjection(nn.Module):
    """A linear map from each cell's channels to the tokens' width, one for all cells or one each.

    Args:
        num_channels: Channels of the map.
        width: Width of the tokens.
        num_cells: Cells of the map if each has its own projection, else 1.
    """

    def __init__(self, num_channels: int, width: int, num_cells: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_cells, num_channels, width))
        # The tokens' mean over cells has the spread that one linear layer over all of them would give.
        nn.init.normal_(self.weight, std=math.sqrt(num_cells / num_channels))
        self.bias = nn.Parameter(torch.zeros(num_cells, width))

    def forward(self, x: Float[Tensor, "items channels height columns"]) -> Float[Tensor, "items cells width"]:
        """Cells row by row."""
        cells = x.flatten(2)
        if len(self.weight) == 1:
            return cells.transpose(1, 2) @ self.weight[0] + self.bias
        return torch.einsum("bcl,lcw->blw", cells, self.weight) + self.bias


class FeatureNetwork(nn.Module, ABC):
    """A convolutional network without a classifier.

    Attributes:
        strides: Of each of its feature maps, from fine to coarse, in pixels.
        channels: Likewise.
        channels_last: Whether it is faster on channels-last maps on a CPU too.
    """

    channels_last: ClassVar[bool] = False
    strides: tuple[int, ...]
    channels: tuple[int, ...]

    @abstractmethod
    def maps(self, x: Float[Tensor, "items channels height width"]) -> list[Tensor]:
        """Feature maps, one for each resolution; sides are halved upwards, so nothing at an edge is lost."""

    @final  # type: ignore[misc]  # torch declares `forward` as an attribute
    def forward(
        self, x: Float[Tensor, "items channels height width"]
    ) -> Float[Tensor, "items outchannels lastheight lastwidth"]:
        """The last of them."""
        last: Tensor = self.maps(x)[-1]
        return last


class FeatureMap(Encoder):
    """Standardized pixels, a convolutional network, and one token for each cell of its last map.

    Args:
        column: The fitted column.
        width: Width of the tokens to give.
        network: The network.
        positions: "shared" (one projection for all cells), "own" (one each) or "auto": own up to 64 px, shared above.
        dropout: On the last map.
    """

    def __init__(
        self,
        column: ImageColumn,
        width: int,
        network: FeatureNetwork,
        positions: Literal["auto", "own", "shared"] = "shared",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(column, width)
        self.standardize = Standardize(column.mean, column.std, network.channels_last)
        self.network = network
        height, columns = column.image_size
        self.grids = [(-(-height // stride), -(-columns // stride)) for stride in network.strides]
        self.dropout = nn.Dropout(dropout)
        cells = math.prod(self.grids[-1]) if each_cell_its_own(column, positions) else 1
        self.projection = CellProjection(network.channels[-1], width, cells)
        self.ties_rows = any(isinstance(module, BatchNorm) for module in network.modules())

    @property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        every = zip(self.network.strides, self.network.channels, self.grids, strict=True)
        return tuple(PyramidLevel(stride=(stride, stride), width=width, grid=grid) for stride, width, grid in every)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        x = self.standardize(values)
        # Absent images are left out only where they would enter a batch's statistics: looking which are present makes
        # the host wait for the device.
        maps = over_present(self._maps, x, lengths) if self.training and self.ties_rows else self._maps(x)
        tokens = image_tokens(self.projection(self.dropout(maps[-1])), self.grids[-1], lengths)
        if not self.gives_pyramid:
            return tokens
        return replace(tokens, pyramid=tuple(image_level(each, lengths) for each in maps))

    def _maps(self, x: Tensor) -> Sequence[Tensor]:
        return self.network.maps(x) if self.gives_pyramid else [self.network(x)]


def each_cell_its_own(column: ImageColumn, positions: Literal["auto", "own", "shared"]) -> bool:
    """Whether each cell of the last map has a projection of its own."""
    return positions == "own" or (positions == "auto" and max(column.image_size) <= SMALL)
