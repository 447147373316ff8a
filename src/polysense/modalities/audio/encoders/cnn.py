"""A residual network on the log-mel spectrogram; tokens run along time.

Time is halved three times (one token per 80 ms), frequency until four bands remain, which are then joined by a
projection, so pitch position survives. Every layer zeroes what lies beyond a clip's end: a clip's tokens do not depend
on how long
its batch mates are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import PyramidLevel, Tokens
from polysense.modalities.audio.encoders.spectrogram import SpectrogramEncoderConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.encoder import Draws, Encoder, Items, Lengths
from polysense.nn.layers.convolution import ResidualBlock, time_level
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["AudioCNN", "AudioCNNConfig"]

_SHORT_SECONDS = 2.0
_ANCHORS = 4


@dataclass(frozen=True, kw_only=True)
class AudioCNNConfig(SpectrogramEncoderConfig):
    """A residual network on the log-mel spectrogram, trained from scratch.

    Attributes:
        channels: Channels of the stem; doubled at each of two further halvings.
        positions: How time steps become tokens: "shared" (one projection for all), "own" (a projection that changes
            from the clip's beginning to its end, which preserves their order through averaging), or "auto": own for
            clips of up to 2 seconds, as single words are, shared for longer ones.
        dropout: On the last feature map.
    """

    type: Literal["audio_cnn"] = "audio_cnn"
    channels: PositiveInt = 8
    positions: Literal["auto", "own", "shared"] = "auto"
    dropout: FractionBelowOne = 0.3


class AudioCNN(Encoder, config=AudioCNNConfig):
    """Log-mel, a strided stem, residual stages, the remaining bands joined into each time step."""

    def __init__(self, config: AudioCNNConfig, column: AudioColumn, width: int) -> None:
        super().__init__(column, width)
        self.spectrogram = config.spectrogram(column)
        channels = config.channels
        # Not normalized: the spectrogram is, and this layer's output is the largest by far.
        self.stem = nn.Conv2d(1, channels, 5, stride=2, padding=2)
        self.stages = nn.ModuleList(
            ResidualBlock(channels * 2**stage, channels * 2 ** (stage + 1)) for stage in range(2)
        )
        self.dropout = nn.Dropout(config.dropout)
        short = column.typical_length <= _SHORT_SECONDS * column.sample_rate
        self.own = config.positions == "own" or (config.positions == "auto" and short)
        inputs = channels * 4 * -(-config.num_mels // 8)
        anchors = _ANCHORS if self.own else 1
        self.projection = nn.Parameter(torch.empty(anchors, inputs, width))
        nn.init.normal_(self.projection, std=math.sqrt(anchors / inputs))
        self.bias = nn.Parameter(torch.zeros(width))

    @property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        """The bands of a time are side by side."""
        log_mel, channels = self.spectrogram.log_mel, self.stem.out_channels
        hop, num_mels = log_mel.hop, log_mel.num_mels
        return tuple(
            PyramidLevel(stride=(hop * 2 ** (i + 1),), width=channels * 2**i * -(-num_mels // 2 ** (i + 1)))
            for i in range(3)
        )

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        spectrogram, valid = self.spectrogram(values, lengths, draws)
        keep = valid[:, None, None, :].to(spectrogram.dtype)
        x = spectrogram[:, None].contiguous(memory_format=torch.channels_last)
        keep = keep[..., ::2]
        x = F.relu(self.stem(x), inplace=True) * keep
        maps = [(x, keep)]
        for stage in self.stages:
            # Values are not negative and padding is 0, so a pair that is half padding gives its valid half.
            x = F.max_pool2d(x, 2, ceil_mode=True)
            keep = keep[..., ::2]
            x = stage(x, keep)
            maps.append((x, keep))
        valid = keep[:, 0, 0, :] > 0
        steps = self.dropout(x).permute(0, 3, 1, 2).flatten(2)
        if self.own:
            tokens = torch.einsum("btc,btk,kcw->btw", steps, _near_anchors(valid), self.projection) + self.bias
        else:
            tokens = steps @ self.projection[0] + self.bias
        length = tokens.shape[1]
        positions = sinusoidal(torch.arange(length, device=tokens.device), self.width).to(tokens.dtype)
        levels = tuple(time_level(*each) for each in maps) if self.gives_pyramid else ()
        return Tokens(tokens + 0.1 * positions, valid, (length,), levels)


def _near_anchors(valid: Bool[Tensor, "items steps"]) -> Float[Tensor, "items steps anchors"]:
    """How near each step is to each of the anchors, which are spread over its own clip; sums to 1."""
    steps = torch.arange(valid.shape[1], device=valid.device)
    share = steps / (valid.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    anchors = torch.arange(_ANCHORS, device=valid.device)
    return (1 - (share[..., None] * (_ANCHORS - 1) - anchors).abs()).clamp(min=0)
