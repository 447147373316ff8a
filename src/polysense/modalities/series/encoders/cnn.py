"""Residual convolutions along time, each halving it; tokens run along time.

ResNet for time series (Wang et al., "Time Series Classification from Scratch with Deep Neural Networks", 2017, section
3.3), a strong baseline in the archives' comparisons. Here the stages halve time instead of keeping it, group
normalization over valid steps stands for batch normalization, and there is a token for each eight steps in place of one
average. Cost grows linearly with the length.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.schema import Column
from polysense.core.tokens import PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.series.encoders.channels import with_indicators
from polysense.modalities.series.record import SeriesColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths
from polysense.nn.layers.convolution import ValidGroupNorm, time_level
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["SeriesCNN", "SeriesCNNConfig"]


@dataclass(frozen=True, kw_only=True)
class SeriesCNNConfig(EncoderConfig):
    """Residual 1-D convolutions over a series, trained from scratch.

    Attributes:
        channels: Channels of the first stage; doubled once.
        kernel_size: Steps that a convolution spans; odd.
        num_stages: Stages; each halves time.
        dropout: On the last feature map.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"series"})
    type: Literal["series_cnn"] = "series_cnn"
    channels: PositiveInt = 32
    kernel_size: PositiveInt = 7
    num_stages: PositiveInt = 3
    dropout: FractionBelowOne = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size: an odd number of steps; found {self.kernel_size}")


class _Stage(nn.Module):
    """Two convolutions along time and a shortcut."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.first = nn.Conv1d(inputs, outputs, kernel_size, padding=padding, bias=False)
        self.second = nn.Conv1d(outputs, outputs, kernel_size, padding=padding, bias=False)
        self.norm_1, self.norm_2 = ValidGroupNorm(outputs), ValidGroupNorm(outputs)
        self.shortcut = nn.Conv1d(inputs, outputs, 1, bias=False)
        nn.init.zeros_(self.norm_2.weight)

    def forward(
        self, x: Float[Tensor, "items inputs steps"], keep: Float[Tensor, "items 1 1 steps"]
    ) -> Float[Tensor, "items outputs steps"]:
        hidden = F.relu(self.norm_1(self.first(x)[:, :, None], keep), inplace=True)
        hidden = self.norm_2(self.second(hidden[:, :, 0])[:, :, None], keep)[:, :, 0]
        return F.relu(self.shortcut(x) + hidden, inplace=True)


class SeriesCNN(Encoder, config=SeriesCNNConfig):
    """Residual stages over values and missing indicators, then a projection."""

    def __init__(self, config: SeriesCNNConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        inputs = 2 * SeriesColumn.of(column).num_channels
        widths = [inputs, config.channels, *[2 * config.channels] * (config.num_stages - 1)]
        self.stages = nn.ModuleList(_Stage(before, after, config.kernel_size) for before, after in pairwise(widths))
        self.widths = (*widths[1:], widths[-1])
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(widths[-1], width)

    @property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        return tuple(PyramidLevel(stride=(2**i,), width=width) for i, width in enumerate(self.widths))

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        steps, valid = with_indicators(values, lengths)
        x, keep = steps.transpose(1, 2), valid[:, None, None].to(steps.dtype)
        maps = []
        for stage in self.stages:
            x = stage(x, keep)
            maps.append((x, keep))
            # Not negative, and 0 in the padding: a pair that is half padding gives its valid half.
            x, keep = F.max_pool1d(x, 2, ceil_mode=True), keep[..., ::2]
        maps.append((x, keep))
        tokens = self.projection(self.dropout(x.transpose(1, 2)))
        positions = sinusoidal(torch.arange(tokens.shape[1], device=x.device), self.width).to(tokens.dtype)
        levels = tuple(time_level(x[:, :, None], keep) for x, keep in maps) if self.gives_pyramid else ()
        return Tokens(tokens + 0.1 * positions, keep[:, 0, 0] > 0, (tokens.shape[1],), levels)
