"""A residual network whose depth follows the picture.

A network made for 224 px sees almost nothing of a 28 px digit after its stem; one made for 28 px is ten times too slow
at 224. Halvings are chosen so that the last grid is 4 to 8 cells wide. The first is the stem's stride: normalising and
rectifying 16 channels at full resolution would cost a small network most of its time and gains nothing.

How cells become tokens follows the picture too. A photograph shows its subject anywhere: every cell has the same
projection. A small picture (a digit, a symbol, a thumbnail) is drawn to its frame: each cell has its own projection,
and the tokens' mean is then what flattening gives. On degraded 28 px digits that is 70% against 35%.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import Encoder, EncoderConfig
from polysense.nn.layers.convolution import ResidualBlock
from polysense.nn.layers.pixels import Standardise
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["SMALL", "ResNet", "ResNetConfig", "grid_positions", "image_tokens"]

SMALL = 64  # pixels: the side up to which a picture counts as drawn to its frame


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(EncoderConfig):
    """A residual network sized to the picture, trained from scratch.

    Attributes:
        channels: Channels of the first stage; doubled at each halving, up to eight times.
        blocks: Residual blocks in each stage.
        positions: How cells of the last feature map become tokens: "shared" (one projection for all), "own" (one
            each, which knows where things are), or "auto": own up to 64 px, shared above.
        dropout: On the last feature map.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["resnet"] = "resnet"
    channels: int = 16
    blocks: int = 1
    positions: Literal["auto", "own", "shared"] = "auto"
    dropout: float = 0.3

    def build(self, column: Column, width: int, resources: Path | None = None) -> ResNet:
        self.check(column)
        column = ImageColumn.of(column)
        return ResNet(self, column, width)


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


class ResNet(Encoder):
    """A strided stem, then stages of residual blocks and pooling; tokens are the cells of the last feature map."""

    def __init__(self, config: ResNetConfig, column: ImageColumn, width: int) -> None:
        super().__init__(column, width)
        self.standardise = Standardise(column.mean, column.std, channels_last=True)
        height, columns = column.image_size
        halvings = max(round(math.log2(min(height, columns) / 6)), 1)
        # The stem halves a large picture twice or more: its stages at half resolution would cost five times the rest.
        num_strides = max(halvings - 3, 2 if halvings > 3 else 1)
        channels = config.channels
        self.stem = nn.ModuleList()
        num_inputs = column.num_channels
        for _ in range(num_strides):
            # Not normalised: the picture is, and this layer's output is the largest by far.
            self.stem.append(nn.Conv2d(num_inputs, channels, 5, stride=2, padding=2))
            num_inputs = channels
        self.stages = nn.ModuleList()
        for stage in range(halvings - num_strides):
            outputs = min(config.channels * 2 ** (stage + 1), config.channels * 8)
            self.stages.append(
                nn.Sequential(
                    *(ResidualBlock(channels if block == 0 else outputs, outputs) for block in range(config.blocks))
                )
            )
            channels = outputs
        for _ in range(halvings):
            height, columns = -(-height // 2), -(-columns // 2)
        self.own = config.positions == "own" or (config.positions == "auto" and max(column.image_size) <= SMALL)
        # A photograph's cells are averaged, so they must say more each.
        self.last: nn.Module = nn.Identity() if self.own else ResidualBlock(channels, 2 * channels)
        channels = channels if self.own else 2 * channels
        self.dropout = nn.Dropout(config.dropout)
        cells = height * columns if self.own else 1
        self.projection = nn.Parameter(torch.empty(cells, channels, width))
        # The tokens' mean over cells has the spread that one linear layer over all of them would give.
        nn.init.normal_(self.projection, std=math.sqrt(cells / channels))
        self.bias = nn.Parameter(torch.zeros(cells, width))

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        x = self.standardise(values)
        for layer in self.stem:
            x = F.relu(layer(x), inplace=True)
        for stage in self.stages:
            x = stage(x)
            x = F.max_pool2d(x, 2, ceil_mode=True)
        x = self.last(x)
        _, _, height, columns = x.shape
        cells = self.dropout(x).flatten(2)
        if self.own:
            tokens = torch.einsum("bcl,lcw->blw", cells, self.projection) + self.bias
        else:
            tokens = cells.transpose(1, 2) @ self.projection[0] + self.bias
        return image_tokens(tokens, (height, columns), lengths)
