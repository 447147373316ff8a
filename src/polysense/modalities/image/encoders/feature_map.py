"""A convolutional network's last feature map as tokens: what all such image encoders share.

Every cell of the map becomes one token. A classifier would average the cells (ResNet) or flatten them (VGG, and every
first CNN in a textbook); which of the two suits depends on the picture. A photograph shows its subject anywhere, so
each cell has the same projection, and the tokens' mean is what averaging gives. A small picture (a digit, a symbol) is
drawn to its frame: each cell has its own projection, and the tokens' mean is what flattening gives.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from polysense.core.tokens import Tokens
from polysense.modalities.image.encoders.resnet import SMALL, image_tokens
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import Encoder
from polysense.nn.layers.batchnorm import BatchNorm, over_present
from polysense.nn.layers.pixels import Standardise

__all__ = ["CellProjection", "FeatureMap"]


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


class FeatureMap(Encoder):
    """Standardised pixels, a convolutional network, and one token for each cell of its last map.

    Args:
        column: The fitted column.
        width: Width of the tokens to give.
        network: From [items, channels, height, width] to [items, num_channels, *grid].
        num_channels: Channels of the last map.
        grid: Height and width of the last map.
        positions: "shared" (one projection for all cells), "own" (one each) or "auto": own up to 64 px, shared above.
        dropout: On the last map.
        channels_last: Whether the network is faster on channels-last maps on a CPU too.
    """

    def __init__(
        self,
        column: ImageColumn,
        width: int,
        network: nn.Module,
        num_channels: int,
        grid: tuple[int, int],
        positions: Literal["auto", "own", "shared"] = "shared",
        dropout: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(column, width)
        self.standardise = Standardise(column.mean, column.std, channels_last)
        self.network = network
        self.grid = grid
        self.dropout = nn.Dropout(dropout)
        own = positions == "own" or (positions == "auto" and max(column.image_size) <= SMALL)
        self.projection = CellProjection(num_channels, width, math.prod(grid) if own else 1)
        self.ties_rows = any(isinstance(module, BatchNorm) for module in network.modules())

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        x = self.standardise(values)
        # Absent pictures are left out only where they would enter a batch's statistics: looking which are present makes
        # the host wait for the device.
        x = over_present(self.network, x, lengths) if self.training and self.ties_rows else self.network(x)
        return image_tokens(self.projection(self.dropout(x)), self.grid, lengths)
