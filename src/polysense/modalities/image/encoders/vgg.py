"""VGG: the deepest plain network that still trained without residual connections.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015, table 1, columns A,
B, D and E; batch normalization as torchvision adds it. Its merit today is as a baseline: at equal accuracy a ResNet
takes a fifth of the arithmetic. With the same weights its map equals torchvision's for images whose sides are multiples
of 32, from 64 px.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from polysense.config.limits import FractionBelowOne
from polysense.core.schema import Column
from polysense.modalities.image.encoders.feature_map import FeatureMap, FeatureNetwork
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import EncoderConfig
from polysense.nn.layers.batchnorm import BatchNorm

__all__ = ["VGG", "VGGConfig"]

_CHANNELS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@dataclass(frozen=True, kw_only=True)
class VGGConfig(EncoderConfig):
    """VGG-11, 13, 16 or 19, trained from scratch; for pretrained weights take `type: timm`.

    Attributes:
        depth: Layers with weights, the three of the original's classifier counted.
        batch_norm: Batch normalization after each convolution. Without it the deep ones hardly train; with it the rows
            of a training batch are tied together.
        positions: How cells of the last map become tokens: "shared" (one projection for all), "own" (one each, as the
            original flattens them), or "auto": own up to 64 px, shared above.
        dropout: On the last map.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["vgg"] = "vgg"
    depth: Literal[11, 13, 16, 19] = 11
    batch_norm: bool = True
    positions: Literal["auto", "own", "shared"] = "auto"
    dropout: FractionBelowOne = 0.3

    def build(self, column: Column, width: int, resources: Path | None = None) -> FeatureMap:
        self.check(column)
        column = ImageColumn.of(column)
        network = VGG(column.num_channels, column.image_size, self.depth, self.batch_norm)
        return FeatureMap(column, width, network, self.positions, self.dropout)


class VGG(FeatureNetwork):
    """Five stages of 3x3 convolutions, each followed by 2x2 max-pooling while the map's shorter side is above 2.

    Args:
        num_inputs: Channels of the image.
        image_size: Its height and width.
        depth: 11, 13, 16 or 19.
        batch_norm: Whether convolutions are batch-normalized.
    """

    def __init__(self, num_inputs: int, image_size: tuple[int, int], depth: int, batch_norm: bool) -> None:
        super().__init__()
        side, pools = min(image_size), 0
        layers: list[nn.Module] = []
        for channels, convolutions in zip(_CHANNELS, _CONVOLUTIONS[depth], strict=True):
            for _ in range(convolutions):
                # Batch normalization takes a constant out again, so a bias before it would never learn.
                convolution = nn.Conv2d(num_inputs, channels, 3, padding=1, bias=not batch_norm)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                if convolution.bias is not None:
                    nn.init.zeros_(convolution.bias)
                layers += [convolution, BatchNorm(channels)] if batch_norm else [convolution]
                layers.append(nn.ReLU(inplace=True))
                num_inputs = channels
            if side > 2:
                # Upwards, so that an odd map's edge is not lost.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                side, pools = -(-side // 2), pools + 1
        self.features = nn.Sequential(*layers)
        self.channels = (*_CHANNELS[:pools], _CHANNELS[-1])
        self.strides = tuple(2**pool for pool in range(pools + 1))

    def maps(self, x: Float[Tensor, "items channels height width"]) -> list[Tensor]:
        maps = [x]
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(maps[-1])
            maps[-1] = layer(maps[-1])
        return maps
