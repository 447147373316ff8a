"""Strided convolutions on the raw waveform; no spectrogram; tokens run along time.

M5 of Dai et al., "Very Deep Convolutional Neural Networks for Raw Waveforms" (ICASSP 2017, table 1): a first layer of
10 ms filters that may become a filter bank, then kernels of 3 samples, each layer followed by a maximum over 4 steps.
What differs: filter length and stride follow the sample rate (the paper's 80 and 4 samples at 8 kHz); group
normalization over valid steps instead of batch normalization, so that no clip depends on its batch or its padding; the
last maximum and the average over time are left out, which makes a token per 32 ms; channels are a knob and the
default is a quarter of the paper's 128.

It can use what a log-mel spectrogram throws away (phase, timing within a frame) and needs no choice of bands, but has
to learn them: with few training clips expect the log-mel encoders to be ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import PyramidLevel, Tokens
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths
from polysense.nn.layers.convolution import ValidGroupNorm, time_level
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["WaveformCNN", "WaveformCNNConfig"]

_POOL = 4


@dataclass(frozen=True, kw_only=True)
class WaveformCNNConfig(EncoderConfig):
    """One-dimensional convolutions on the raw waveform (M5), trained from scratch.

    Attributes:
        channels: Channels of the first two layers; doubled at each of the two that follow. The paper has 128.
        dropout: On the last feature map.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})
    type: Literal["waveform_cnn"] = "waveform_cnn"
    channels: PositiveInt = 32
    dropout: FractionBelowOne = 0.2


class WaveformCNN(Encoder, config=WaveformCNNConfig):
    """A strided filter bank and three pooled convolutions, all group-normalized, then a projection."""

    def __init__(self, config: WaveformCNNConfig, column: AudioColumn, width: int) -> None:
        super().__init__(column, width)
        channels = config.channels
        self.stride = max(round(column.sample_rate / 2000), 1)  # 0.5 ms
        self.kernel = max(column.sample_rate // 100, self.stride)  # 10 ms
        self.filters = nn.Conv1d(1, channels, self.kernel, stride=self.stride, bias=False)
        widths = (channels, channels, 2 * channels, 4 * channels)
        self.layers = nn.ModuleList(
            nn.Conv1d(before, after, 3, padding=1, bias=False) for before, after in pairwise(widths)
        )
        self.widths = widths
        self.norms = nn.ModuleList(ValidGroupNorm(count) for count in widths)
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(widths[-1], width)

    @property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        return tuple(PyramidLevel(stride=(self.stride * _POOL**i,), width=width) for i, width in enumerate(self.widths))

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        signal = _standardized(values, lengths)
        num_steps = max(-(-signal.shape[1] // self.stride), 1)
        # The first filter is centered on the first sample, and the last one reaches beyond the end as far as it needs.
        left = (self.kernel - self.stride) // 2
        right = (num_steps - 1) * self.stride + self.kernel - left - signal.shape[1]
        x = self.filters(F.pad(signal[:, None], (left, max(right, 0))))[..., :num_steps]
        steps = torch.arange(num_steps, device=x.device)
        valid = steps < ((lengths + self.stride - 1) // self.stride)[:, None]
        keep = valid[:, None, None, :].to(x.dtype)
        x = F.relu(self.norms[0](x[:, :, None], keep), inplace=True)
        maps = [(x, keep)]
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            # Values are not negative and padding is 0: a group that is partly padding gives its valid part.
            x = F.max_pool2d(x, (1, _POOL), ceil_mode=True)
            keep = keep[..., ::_POOL]
            x = F.relu(norm(layer(x[:, :, 0])[:, :, None], keep), inplace=True)
            maps.append((x, keep))
        mask = keep[:, 0, 0, :] > 0
        tokens = self.projection(self.dropout(x[:, :, 0].transpose(1, 2)))
        positions = sinusoidal(torch.arange(tokens.shape[1], device=x.device), self.width).to(tokens.dtype)
        levels = tuple(time_level(*each) for each in maps) if self.gives_pyramid else ()
        return Tokens(tokens + 0.1 * positions, mask, (tokens.shape[1],), levels)


@torch.no_grad()
def _standardized(
    values: Int[Tensor, "items samples"], lengths: Int[Tensor, " items"]
) -> Float[Tensor, "items samples"]:
    """Each clip to mean 0 and variance 1 over its own samples, which takes out recording level; 0 beyond its end.

    Silence stays 0: one step of 16-bit samples is the least deviation.
    """
    valid = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    count = lengths.clamp(min=1)[:, None]
    signal = values.masked_fill(~valid, 0).float()
    centered = (signal - signal.sum(dim=1, keepdim=True) / count) * valid
    deviation = (centered.square().sum(dim=1, keepdim=True) / count).sqrt()
    return centered / deviation.clamp(min=1.0)
