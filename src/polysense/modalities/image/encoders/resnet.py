"""A residual network whose depth follows the image.

A network made for 224 px sees almost nothing of a 28 px digit after its stem; one made for 28 px is ten times too slow
at 224. Halvings are chosen so that the last grid is 4 to 8 cells wide. The first is the stem's stride: normalizing and
rectifying 16 channels at full resolution would cost a small network most of its time and gains nothing.

How cells become tokens follows the image too. A photograph shows its subject anywhere: every cell has the same
projection. A small image (a digit, a symbol, a thumbnail) is drawn to its frame: each cell has its own projection, and
the tokens' mean is then what flattening gives. On degraded 28 px digits that is 70% against 35%.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.schema import Column
from polysense.modalities.image.encoders.feature_map import FeatureMap, FeatureNetwork, each_cell_its_own
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import EncoderConfig
from polysense.nn.layers.convolution import ResidualBlock

__all__ = ["ResNet", "ResNetConfig"]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(EncoderConfig):
    """A residual network sized to the images, trained from scratch.

    Attributes:
        channels: Channels of the first stage; doubled at each halving, up to eight times.
        blocks: Residual blocks in each stage.
        positions: How cells of the last feature map become tokens: "shared" (one projection for all), "own" (one
            each, which knows where things are), or "auto": own up to 64 px, shared above.
        dropout: On the last feature map.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["resnet"] = "resnet"
    channels: PositiveInt = 16
    blocks: PositiveInt = 1
    positions: Literal["auto", "own", "shared"] = "auto"
    dropout: FractionBelowOne = 0.3

    def build(self, column: Column, width: int, resources: Path | None = None) -> FeatureMap:
        self.check(column)
        column = ImageColumn.of(column)
        network = ResNet(
            column.num_channels,
            column.image_size,
            self.channels,
            self.blocks,
            # A photograph's cells are averaged, so they must say more each.
            widened=not each_cell_its_own(column, self.positions),
        )
        return FeatureMap(column, width, network, self.positions, self.dropout)


class ResNet(FeatureNetwork):
    """A strided stem, then stages of residual blocks and pooling.

    Args:
        num_inputs: Channels of the image.
        image_size: Its height and width.
        channels: Channels of the stem.
        blocks: Residual blocks in each stage.
        widened: Whether one more block doubles the last map's channels.
    """

    channels_last: ClassVar[bool] = True

    def __init__(self, num_inputs: int, image_size: tuple[int, int], channels: int, blocks: int, widened: bool) -> None:
        super().__init__()
        halvings = max(round(math.log2(min(image_size) / 6)), 1)
        # The stem halves a large image twice or more: its stages at half resolution would cost five times the rest.
        num_strides = max(halvings - 3, 2 if halvings > 3 else 1)
        self.stem = nn.ModuleList()
        for _ in range(num_strides):
            # Not normalized: the image is, and this layer's output is the largest by far.
            self.stem.append(nn.Conv2d(num_inputs, channels, 5, stride=2, padding=2))
            num_inputs = channels
        widths = [channels] * num_strides
        self.stages = nn.ModuleList()
        for stage in range(halvings - num_strides):
            outputs = min(channels * 2 ** (stage + 1), channels * 8)
            self.stages.append(
                nn.Sequential(
                    *(ResidualBlock(num_inputs if block == 0 else outputs, outputs) for block in range(blocks))
                )
            )
            num_inputs = outputs
            widths = [*widths[:-1], outputs, outputs]
        self.last: nn.Module = ResidualBlock(num_inputs, 2 * num_inputs) if widened else nn.Identity()
        self.channels = (*widths[:-1], 2 * num_inputs if widened else num_inputs)
        self.strides = tuple(2**halving for halving in range(1, halvings + 1))

    def maps(self, x: Float[Tensor, "items channels height width"]) -> list[Tensor]:
        maps: list[Tensor] = []
        for layer in self.stem:
            maps.append(x := F.relu(layer(x), inplace=True))
        for stage in self.stages:
            maps[-1] = stage(x)
            maps.append(x := F.max_pool2d(maps[-1], 2, ceil_mode=True))
        maps[-1] = self.last(x)
        return maps
