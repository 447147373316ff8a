"""ConvNeXt: a convolutional network with a transformer's block design.

Liu et al., "A ConvNet for the 2020s", 2022, section 2; the sizes below "tiny" are timm's. Each block mixes space with a
7x7 convolution per channel, then channels with two linear layers. It normalizes each cell over its channels, so rows
never meet, in training either. With the same weights the last map equals timm's for images whose sides are multiples of
32. The trade-off: depthwise convolutions do little arithmetic per byte, so on a CPU it is slower than its FLOPs say,
and like a transformer it wants more data or a longer training than a ResNet.

The published stem cuts 4x4 patches, of which a 28 px digit has 7x7. Below 64 px the stem is therefore a 3x3 convolution
with stride 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne
from polysense.core.schema import Column
from polysense.modalities.image.encoders.feature_map import SMALL, FeatureMap, FeatureNetwork
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import EncoderConfig

__all__ = ["ConvNeXt", "ConvNeXtConfig"]

_SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {  # blocks and channels of each stage
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": ((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": ((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
}


@dataclass(frozen=True, kw_only=True)
class ConvNeXtConfig(EncoderConfig):
    """ConvNeXt, trained from scratch; for pretrained weights take `type: timm`.

    Attributes:
        size: atto (3 million parameters), femto (5), pico (9), nano (15) or tiny (28).
        stem: The first layers: "imagenet" (4x4 patches), "small" (3x3 with stride 1), or "auto": small if the shorter
            side is below 64 px.
        stochastic_depth: Probability of skipping the last block for an image in training; earlier blocks have lower
            ones.
        dropout: On the last map.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["convnext"] = "convnext"
    size: Literal["atto", "femto", "pico", "nano", "tiny"] = "atto"
    stem: Literal["auto", "imagenet", "small"] = "auto"
    stochastic_depth: FractionBelowOne = 0.1
    dropout: FractionBelowOne = 0.0

    def build(self, column: Column, width: int, resources: Path | None = None) -> FeatureMap:
        self.check(column)
        column = ImageColumn.of(column)
        small = self.stem == "small" or (self.stem == "auto" and min(column.image_size) < SMALL)
        blocks, channels = _SIZES[self.size]
        network = ConvNeXt(column.num_channels, blocks, channels, small, self.stochastic_depth)
        return FeatureMap(column, width, network, dropout=self.dropout)


class _ChannelNorm(nn.LayerNorm):
    """Layer normalization with the paper's epsilon."""

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels, eps=1e-6)


class _Block(nn.Module):
    """A 7x7 convolution per channel, then a feed-forward layer at each cell, scaled and added."""

    def __init__(self, num_channels: int, skip: float) -> None:
        super().__init__()
        self.skip = skip
        self.spatial = nn.Conv2d(num_channels, num_channels, 7, padding=3, groups=num_channels)
        self.norm = _ChannelNorm(num_channels)
        self.widen = nn.Linear(num_channels, 4 * num_channels)
        self.narrow = nn.Linear(4 * num_channels, num_channels)
        # Starting next to the identity (Touvron et al., "Going deeper with Image Transformers", 2021, section 2).
        self.scale = nn.Parameter(torch.full((num_channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        out = self.narrow(F.gelu(self.widen(out))) * self.scale
        if self.training and self.skip > 0:
            # Stochastic depth (Huang et al., "Deep Networks with Stochastic Depth", 2016), one draw for each image.
            keep = torch.rand(len(out), 1, 1, 1, device=out.device) >= self.skip
            out = out * (keep / (1 - self.skip)).to(out.dtype)
        added: Tensor = x + out.permute(0, 3, 1, 2)
        return added


class _Patches(nn.Module):
    """A convolution whose kernel is its stride; a map that it does not divide is filled up with zeros."""

    def __init__(self, num_inputs: int, num_outputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.convolution = nn.Conv2d(num_inputs, num_outputs, size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        bottom, right = -x.shape[2] % self.size, -x.shape[3] % self.size
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom))
        out: Tensor = self.convolution(x)
        return out


class ConvNeXt(FeatureNetwork):
    """A stem, four stages of blocks with a halving between them, and a last normalization of each cell.

    Args:
        num_inputs: Channels of the image.
        blocks: Blocks in each stage.
        channels: Channels of each stage.
        small: Whether the stem is the one for small images.
        stochastic_depth: How often the last block is skipped in training.
    """

    channels_last: ClassVar[bool] = True

    def __init__(
        self, num_inputs: int, blocks: Sequence[int], channels: Sequence[int], small: bool, stochastic_depth: float
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.strides = (1, 2, 4, 8) if small else (4, 8, 16, 32)
        self.stem: nn.Module = _Patches(num_inputs, channels[0], 4)
        if small:
            self.stem = nn.Conv2d(num_inputs, channels[0], 3, padding=1)
        self.norms = nn.ModuleList(_ChannelNorm(size) for size in (channels[0], *channels[:-1], channels[-1]))
        self.halvings = nn.ModuleList(_Patches(before, after, 2) for before, after in itertools.pairwise(channels))
        skips = [stochastic_depth * index / max(sum(blocks) - 1, 1) for index in range(sum(blocks))]
        self.stages = nn.ModuleList()
        for num_blocks, size in zip(blocks, channels, strict=True):
            self.stages.append(nn.Sequential(*(_Block(size, skips.pop(0)) for _ in range(num_blocks))))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def maps(self, x: Float[Tensor, "items channels height width"]) -> list[Tensor]:
        maps = [self.stages[0](self._normalize(0, self.stem(x)))]
        for index, stage in enumerate(self.stages[1:]):
            maps.append(stage(self.halvings[index](self._normalize(index + 1, maps[-1]))))
        return [*maps[:-1], self._normalize(len(self.stages), maps[-1])]

    def _normalize(self, index: int, x: Tensor) -> Tensor:
        normalized: Tensor = self.norms[index](x.permute(0, 2, 3, 1))
        return normalized.permute(0, 3, 1, 2)
