"""A (2+1)-dimensional residual network: convolutions over a frame, then over time, with a nonlinearity between.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", 2018, section 3.4: a 3-D convolution
of t x d x d is taken apart into one of 1 x d x d and one of t x 1 x 1. Between them there are as many channels as after
them; the paper has more, to make up for the weights, which on a CPU is twice the time. Frames are halved in space,
never in time, so there is a token for every frame. Normalization is over a frame's own positions: a clip does not
depend on how many frames the longest one beside it has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.modalities.video.encoders.clip import ClipEncoder, WholeVideoConfig
from polysense.modalities.video.record import VideoColumn
from polysense.nn.layers.convolution import ValidGroupNorm
from polysense.nn.layers.pixels import Standardize

__all__ = ["Block", "VideoCNN", "VideoCNNConfig"]

_LAST_SIDE = 6  # cells of the last map's shorter side, about
_ALIGNED = 64  # pixels: the side up to which frames count as drawn to their border


@dataclass(frozen=True, kw_only=True)
class VideoCNNConfig(WholeVideoConfig):
    """Convolutions over space and time in turn (R(2+1)D), trained from scratch; one token for each frame.

    Attributes:
        channels: Channels of the first stage; doubled at each halving, up to eight times.
        blocks: Residual blocks in each stage.
        reach: Frames that a convolution over time reads; odd.
        positions: How the cells of a frame's last map become its token: "shared" averages them, "own" gives each a
            projection of its own, which knows where things are; auto is own up to 64 px.
        dropout: On the last map.
    """

    type: Literal["video_cnn"] = "video_cnn"
    channels: PositiveInt = 16
    blocks: PositiveInt = 1
    reach: PositiveInt = 3
    positions: Literal["auto", "own", "shared"] = "auto"
    dropout: FractionBelowOne = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reach % 2 == 0:
            raise ValueError(f"reach: found {self.reach}, expected an odd number of frames")


class VideoCNN(ClipEncoder, config=VideoCNNConfig):
    """A strided stem, stages of (2+1)-dimensional residual blocks and pooling in space, and a projection."""

    def __init__(self, config: VideoCNNConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        frame = VideoColumn.of(column).frame
        shape = modality(frame.modality).item_shape(frame, 1)
        # What is normalized after the first layer needs the range alone, and the statistics are the frames' modality's.
        self.standardize = Standardize((0.5,) * shape[0], (0.25,) * shape[0], channels_last=True)
        num_inputs, sides = shape[0], shape[1:]
        halvings = max(round(math.log2(min(sides) / _LAST_SIDE)), 1)
        # As in the residual network of images, early halvings are strides: full stages there cost the most by far.
        num_strides = max(halvings - 2, 2 if halvings > 2 else 1)
        sizes = [num_inputs] + [config.channels] * num_strides
        self.stem = nn.ModuleList(nn.Conv2d(*pair, 5, stride=2, padding=2) for pair in itertools.pairwise(sizes))
        self.stages = nn.ModuleList()
        channels = config.channels
        for stage in range(halvings - num_strides):
            outputs = min(config.channels * 2 ** (stage + 1), config.channels * 8)
            sizes = [channels] + [outputs] * config.blocks
            self.stages.append(Stage([Block(*pair, config.reach) for pair in itertools.pairwise(sizes)]))
            channels = outputs
        self.last = Block(channels, 2 * channels, config.reach)
        cells = math.prod(-(-side // 2**halvings) for side in sides)
        is_own = config.positions == "own" or (config.positions == "auto" and max(sides) <= _ALIGNED)
        self.dropout = nn.Dropout(config.dropout)
        self.is_own = is_own
        self.projection = nn.Linear(2 * channels * (cells if is_own else 1), width)

    def encode_clips(
        self, frames: UInt8[Tensor, "batch frames channels height width"], present: Bool[Tensor, "batch frames"]
    ) -> Tokens:
        batch, num_frames = present.shape
        keep = present.flatten()[:, None, None, None].float()
        x = self.standardize(frames.flatten(0, 1))
        for layer in self.stem:
            x = F.relu(layer(x))
        x = x * keep
        for stage in self.stages:
            x = stage(x, num_frames, keep)
        x = self.dropout(self.last(x, num_frames, keep))
        each = x.flatten(1) if self.is_own else x.mean(dim=(2, 3))
        return Tokens(self.projection(each).view(batch, num_frames, -1), present, (num_frames,))


class Convolution(nn.Module):
    """A convolution over a frame, a normalization, a nonlinearity, and a convolution over time.

    Args:
        num_inputs: Channels in.
        num_outputs: Channels out.
        reach: Frames that the second one reads.
    """

    def __init__(self, num_inputs: int, num_outputs: int, reach: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(num_inputs, num_outputs, 3, padding=1, bias=False)
        self.norm = ValidGroupNorm(num_outputs)
        # Over the channels of neighboring frames side by side: torch's 3-D convolutions take longer on a CPU.
        self.time = nn.Conv2d(reach * num_outputs, num_outputs, 1, bias=False)
        self.reach = reach

    def forward(
        self,
        x: Float[Tensor, "all_frames channels height width"],
        num_frames: int,
        keep: Float[Tensor, "all_frames 1 1 1"],
    ) -> Float[Tensor, "all_frames outchannels height width"]:
        """`keep` is 0 at frames that are absent; what is 0 there stays so for what reads beside them."""
        x = F.relu(self.norm(self.space(x))) * keep
        clips = x.view(-1, num_frames, *x.shape[1:])
        around = F.pad(clips, (0, 0) * 3 + (self.reach // 2,) * 2)
        shifted = [around[:, low : low + num_frames].flatten(0, 1) for low in range(self.reach)]
        result: Tensor = self.time(torch.cat(shifted, dim=1))
        return result


class Block(nn.Module):
    """Two such convolutions and a residual connection.

    Args:
        num_inputs: Channels in.
        num_outputs: Channels out.
        reach: Frames that a convolution over time reads.
    """

    def __init__(self, num_inputs: int, num_outputs: int, reach: int) -> None:
        super().__init__()
        self.conv_1 = Convolution(num_inputs, num_outputs, reach)
        self.norm_1 = ValidGroupNorm(num_outputs)
        self.conv_2 = Convolution(num_outputs, num_outputs, reach)
        self.norm_2 = ValidGroupNorm(num_outputs)
        self.shortcut: nn.Module = nn.Identity()
        if num_inputs != num_outputs:
            self.shortcut = nn.Conv2d(num_inputs, num_outputs, 1, bias=False)
        nn.init.zeros_(self.norm_2.weight)  # starting as the identity, as `layers.convolution.ResidualBlock`

    def forward(
        self,
        x: Float[Tensor, "all_frames channels height width"],
        num_frames: int,
        keep: Float[Tensor, "all_frames 1 1 1"],
    ) -> Float[Tensor, "all_frames outchannels height width"]:
        """As `Convolution`; absent frames are 0 and stay 0."""
        hidden = F.relu(self.norm_1(self.conv_1(x, num_frames, keep))) * keep
        return F.relu(self.shortcut(x) + self.norm_2(self.conv_2(hidden, num_frames, keep))) * keep


class Stage(nn.Module):
    """Blocks at one resolution, then the largest of each two by two positions.

    Args:
        blocks: The blocks.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self,
        x: Float[Tensor, "all_frames channels height width"],
        num_frames: int,
        keep: Float[Tensor, "all_frames 1 1 1"],
    ) -> Float[Tensor, "all_frames outchannels halfheight halfwidth"]:
        """As `Block`."""
        for block in self.blocks:
            x = block(x, num_frames, keep)
        return F.max_pool2d(x, 2, ceil_mode=True)
