"""ResNet-18, 34 and 50 as published, with a stem that follows the image.

He et al., "Deep Residual Learning for Image Recognition", 2016, table 1; the strides of ResNet-50's blocks sit on the
3x3 convolution, as in torchvision. With the same weights the last map equals torchvision's. The ImageNet stem (7x7 with
stride 2, then pooling) shrinks the image four times before the first block: of a 28 px digit 7x7 cells are left. Below
64 px the stem is therefore the one of the paper's section 4.2 for CIFAR: a 3x3 convolution with stride 1 and no
pooling, at sixteen times the arithmetic per pixel.

The trade-off: batch normalization ties the rows of a training batch together and is poor with few images per batch; our
own `resnet` keeps rows apart and is smaller. Eleven million parameters or more also want many images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne
from polysense.core.schema import Column
from polysense.modalities.image.encoders.feature_map import SMALL, FeatureMap, FeatureNetwork
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import EncoderConfig
from polysense.nn.layers.batchnorm import BatchNorm

__all__ = ["DeepResNet", "DeepResNetConfig", "ResNet18Config", "ResNet34Config", "ResNet50Config"]


@dataclass(frozen=True, kw_only=True)
class DeepResNetConfig(EncoderConfig):
    """A ResNet as published.

    Attributes:
        stem: The first layers: "imagenet" (7x7 with stride 2, then 3x3 pooling with stride 2), "small" (3x3 with stride
            1, no pooling), or "auto": small if the shorter side is below 64 px.
        dropout: On the last map.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    blocks: ClassVar[tuple[int, ...]]
    bottleneck: ClassVar[bool] = False
    stem: Literal["auto", "imagenet", "small"] = "auto"
    dropout: FractionBelowOne = 0.0

    def build(self, column: Column, width: int, resources: Path | None = None) -> FeatureMap:
        self.check(column)
        column = ImageColumn.of(column)
        small = self.stem == "small" or (self.stem == "auto" and min(column.image_size) < SMALL)
        network = DeepResNet(column.num_channels, self.blocks, self.bottleneck, small)
        return FeatureMap(column, width, network, dropout=self.dropout)


@dataclass(frozen=True, kw_only=True)
class ResNet18Config(DeepResNetConfig):
    """ResNet-18 (11 million parameters), trained from scratch; for pretrained weights take `type: timm`."""

    type: Literal["resnet18"] = "resnet18"
    blocks: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)


@dataclass(frozen=True, kw_only=True)
class ResNet34Config(DeepResNetConfig):
    """ResNet-34 (21 million parameters), trained from scratch; for pretrained weights take `type: timm`."""

    type: Literal["resnet34"] = "resnet34"
    blocks: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)


@dataclass(frozen=True, kw_only=True)
class ResNet50Config(DeepResNetConfig):
    """ResNet-50 (24 million parameters), trained from scratch; for pretrained weights take `type: timm`."""

    type: Literal["resnet50"] = "resnet50"
    blocks: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
    bottleneck: ClassVar[bool] = True


class _Block(nn.Module):
    """Convolutions with batch normalization and a residual connection; the first of a stage may halve the map."""

    def __init__(self, num_inputs: int, channels: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * channels if bottleneck else channels
        # (kernel, stride, outputs) of each convolution.
        plan = [(3, stride, channels), (3, 1, channels)]
        if bottleneck:
            plan = [(1, 1, channels), (3, stride, channels), (1, 1, outputs)]
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        before = num_inputs
        for kernel, step, after in plan:
            self.convolutions.append(nn.Conv2d(before, after, kernel, step, padding=kernel // 2, bias=False))
            self.norms.append(BatchNorm(after))
            before = after
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or num_inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(num_inputs, outputs, 1, stride, bias=False), BatchNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if index:
                out = F.relu(out, inplace=True)
            out = norm(convolution(out))
        return F.relu(out + self.shortcut(x), inplace=True)


class DeepResNet(FeatureNetwork):
    """A stem, then four stages of residual blocks; all but the first stage halve the map.

    Args:
        num_inputs: Channels of the image.
        blocks: Residual blocks in each stage.
        bottleneck: Whether a block narrows its 3x3 convolution to a quarter of the channels.
        small: Whether the stem is the one for small images.
    """

    def __init__(self, num_inputs: int, blocks: Sequence[int], bottleneck: bool, small: bool) -> None:
        super().__init__()
        if small:
            stem = nn.Conv2d(num_inputs, 64, 3, padding=1, bias=False)
        else:
            stem = nn.Conv2d(num_inputs, 64, 7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(stem, BatchNorm(64), nn.ReLU(inplace=True))
        self.pooled = not small
        self.stages = nn.ModuleList()
        channels, widths = 64, list[int]()
        for stage, num_blocks in enumerate(blocks):
            inner = 64 * 2**stage
            outputs = 4 * inner if bottleneck else inner
            self.stages.append(
                nn.Sequential(
                    *(
                        _Block(channels if block == 0 else outputs, inner, 2 if stage and block == 0 else 1, bottleneck)
                        for block in range(num_blocks)
                    )
                )
            )
            channels = outputs
            widths.append(outputs)
        self.channels = tuple(widths) if small else (64, *widths)
        self.strides = (1, 2, 4, 8) if small else (2, 4, 8, 16, 32)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Block):
                # Starting as the identity (Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1).
                nn.init.zeros_(module.norms[-1].weight)  # type: ignore[arg-type]

    def maps(self, x: Float[Tensor, "items channels height width"]) -> list[Tensor]:
        maps = [self.stem(x)]
        if self.pooled:
            maps.append(F.max_pool2d(maps[-1], 3, stride=2, padding=1))
        maps[-1] = self.stages[0](maps[-1])
        for stage in self.stages[1:]:
            maps.append(stage(maps[-1]))
        return maps
