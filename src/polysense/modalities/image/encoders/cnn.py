"""The textbook's convolutional network: stages of convolution, normalization, ReLU and max-pooling.

LeCun et al., "Gradient-based learning applied to document recognition", 1998, with today's ReLU, normalization and 3x3
kernels (Simonyan and Zisserman, 2015). The plainest network that works, and the baseline for the others: small images
need no more. Without residual connections more than about eight layers train badly; take `resnet` there.
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
from polysense.modalities.image.encoders.feature_map import FeatureMap, FeatureNetwork
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import EncoderConfig
from polysense.nn.layers.batchnorm import BatchNorm
from polysense.nn.layers.convolution import ValidGroupNorm

__all__ = ["ImageCNN", "ImageCNNConfig"]


@dataclass(frozen=True, kw_only=True)
class ImageCNNConfig(EncoderConfig):
    """A plain convolutional network, trained from scratch.

    Attributes:
        channels: Channels of the first stage; doubled at each stage, up to eight times.
        stages: Number of stages, each of which halves the resolution; auto: until the shorter side is 4 to 7 cells.
        convolutions: 3x3 convolutions in each stage.
        norm: After each convolution: "group" keeps rows apart, "batch" ties the rows of a training batch together,
            "none" leaves it out.
        positions: How cells of the last map become tokens: "shared" (one projection for all), "own" (one each, as
            flattening does), or "auto": own up to 64 px, shared above.
        dropout: On the last map.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["image_cnn"] = "image_cnn"
    channels: PositiveInt = 32
    stages: PositiveInt | Literal["auto"] = "auto"
    convolutions: PositiveInt = 1
    norm: Literal["group", "batch", "none"] = "group"
    positions: Literal["auto", "own", "shared"] = "auto"
    dropout: FractionBelowOne = 0.3

    def build(self, column: Column, width: int, resources: Path | None = None) -> FeatureMap:
        self.check(column)
        column = ImageColumn.of(column)
        height, columns = column.image_size
        stages = max(math.floor(math.log2(min(height, columns) / 4)), 1) if self.stages == "auto" else self.stages
        network = ImageCNN(column.num_channels, self.channels, stages, self.convolutions, self.norm)
        return FeatureMap(column, width, network, self.positions, self.dropout)


class ImageCNN(FeatureNetwork):
    """Stages of `convolutions` times (3x3 convolution, normalization, ReLU), then 2x2 max-pooling.

    Args:
        num_inputs: Channels of the image.
        channels: Channels of the first stage.
        num_stages: Stages.
        convolutions: Convolutions in each.
        norm: "group", "batch" or "none".
    """

    channels_last: ClassVar[bool] = True

    def __init__(self, num_inputs: int, channels: int, num_stages: int, convolutions: int, norm: str) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        widths = [channels * min(2**stage, 8) for stage in range(num_stages)]
        for outputs in widths:
            layers: list[nn.Module] = []
            for _ in range(convolutions):
                convolution = nn.Conv2d(num_inputs, outputs, 3, padding=1, bias=norm == "none")
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                layers.append(convolution)
                if norm != "none":
                    layers.append(BatchNorm(outputs) if norm == "batch" else ValidGroupNorm(outputs))
                layers.append(nn.ReLU(inplace=True))
                num_inputs = outputs
            self.stages.append(nn.Sequential(*layers))
        self.channels = (*widths, widths[-1])
        self.strides = tuple(2**stage for stage in range(num_stages + 1))

    def maps(self, x: Float[Tensor, "items channels height width"]) -> list[Tensor]:
        maps = [x]
        for stage in self.stages:
            maps[-1] = stage(maps[-1])
            maps.append(F.max_pool2d(maps[-1], 2, ceil_mode=True))
        return maps
