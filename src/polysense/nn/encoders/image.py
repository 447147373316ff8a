"""A residual network whose depth follows the picture.

A network made for 224 px sees almost nothing of a 28 px digit after its stem; one made for 28 px is ten times too slow
at
224. Halvings are chosen so that the last grid is 4 to 8 cells wide, and the stem takes the first ones of a large
picture.
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

from polysense.core.modality import Modality
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.nn.encoders.base import Encoder, EncoderConfig
from polysense.nn.layers.convolution import ChannelNorm, ResidualBlock
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["ResNet", "ResNetConfig", "image_tokens"]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(EncoderConfig):
    """A residual network sized to the picture, trained from scratch.

    Attributes:
        channels: Channels of the first stage; doubled at each halving, up to eight times.
        blocks: Residual blocks in each stage.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE})
    type: Literal["resnet"] = "resnet"
    channels: int = 16
    blocks: int = 1

    def build(self, column: Column, width: int, resources: Path | None = None) -> ResNet:
        self.check(column)
        return ResNet(self, column, width)


def image_tokens(grid: Float[Tensor, "items width height columns"], lengths: Int[Tensor, " items"]) -> Tokens:
    """A feature map as tokens with 2-D sinusoidal positions; row by row."""
    _, width, height, columns = grid.shape
    half = width // 2
    rows = sinusoidal(torch.arange(height, device=grid.device), half)[:, None, :].expand(-1, columns, -1)
    cols = sinusoidal(torch.arange(columns, device=grid.device), width - half)[None, :, :].expand(height, -1, -1)
    positions = torch.cat([rows, cols], dim=-1).flatten(0, 1)
    values = grid.flatten(2).transpose(1, 2) + 0.1 * positions.to(grid.dtype)
    mask = (lengths > 0)[:, None].expand(-1, height * columns)
    return Tokens(values, mask, (height, columns))


class ResNet(Encoder):
    """Stem, stages of residual blocks, a 1x1 projection; tokens are the cells of the last feature map."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ResNetConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        assert column.image_size is not None
        assert column.num_channels is not None
        assert column.mean is not None
        assert column.std is not None
        self.register_buffer("mean", torch.tensor(column.mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(column.std).view(1, -1, 1, 1) * 255, persistent=False)
        halvings = max(round(math.log2(min(column.image_size) / 6)), 0)
        stem_halvings = max(halvings - 3, 0)
        channels = config.channels
        self.stem = nn.ModuleList()
        num_inputs = column.num_channels
        for index in range(max(stem_halvings, 1)):
            stride = 2 if index < stem_halvings else 1
            self.stem.append(
                nn.Sequential(
                    nn.Conv2d(num_inputs, channels, 3, stride=stride, padding=1, bias=False), ChannelNorm(channels)
                )
            )
            num_inputs = channels
        self.stages = nn.ModuleList()
        for stage in range(halvings - stem_halvings + 1):
            outputs = min(config.channels * 2**stage, config.channels * 8)
            for block in range(config.blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                self.stages.append(ResidualBlock(channels, outputs, (stride, stride)))
                channels = outputs
        self.project = nn.Conv2d(channels, width, 1)

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        x = ((values.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        for layer in self.stem:
            x = F.relu(layer(x), inplace=True)
        for block in self.stages:
            x = block(x)
        return image_tokens(self.project(x), lengths)
