"""A Conformer over frames of the log-mel spectrogram; tokens run along time, 25 a second.

Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition" (Interspeech 2020, section 2): two
convolutions of stride 2 take four frames of 10 ms to one token, then blocks of attention and convolution follow (see
`layers.conformer`, also for what differs from the paper). What a sound is lies in what is near it, which convolutions
read at little cost; what it means in its sentence lies further off, which attention reads.

Attention compares pairs of tokens that are at most `attention_seconds` apart, so cost and memory grow with the length
of a recording and not with its square, and there is no longest one. Each row is normalised on its own, in training too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.encoders.base import Encoder
from polysense.nn.encoders.spectrogram import SpectrogramEncoderConfig
from polysense.nn.layers.conformer import ConformerBlock

__all__ = ["Conformer", "ConformerConfig"]

_SECONDS_PER_TOKEN = 0.04


@dataclass(frozen=True, kw_only=True)
class ConformerConfig(SpectrogramEncoderConfig):
    """A Conformer over frames of the log-mel spectrogram, trained from scratch; for speech recognition.

    Attributes:
        channels: Channels of the two convolutions in front.
        num_layers: Conformer blocks.
        num_heads: Attention heads; must divide the model's width.
        kernel_size: Tokens of 40 ms that a block's convolution spans; odd.
        attention_seconds: How far a token attends, either way, in seconds. Shorter clips are seen whole by every token;
            in longer ones what lies further apart meets over several layers.
        dropout: On the embedded frames and within the blocks.
    """

    type: Literal["conformer"] = "conformer"
    num_mels: int = 80
    channels: int = 32
    num_layers: int = 4
    num_heads: int = 4
    kernel_size: int = 15
    attention_seconds: float = 10.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.attention_seconds < _SECONDS_PER_TOKEN:
            raise ConfigError(
                f"attention_seconds: {self.attention_seconds} is less than one token, {_SECONDS_PER_TOKEN} s"
            )
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size must be odd, so that a token is in its middle; found {self.kernel_size}")
        if self.num_layers < 1:
            raise ConfigError(f"num_layers must be at least 1; found {self.num_layers}")

    def build(self, column: Column, width: int, resources: Path | None = None) -> Conformer:
        self.check(column)
        if self.num_heads < 1 or width % self.num_heads:
            raise ConfigError(
                f"model.encoders.{column.name}: {self.num_heads} heads do not divide the model's width of {width}"
            )
        return Conformer(self, column, width)


class Conformer(Encoder):
    """Log-mel, two strided convolutions, all bands joined into each time step, Conformer blocks."""

    def __init__(self, config: ConformerConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        self.spectrogram = config.spectrogram(column)
        channels = config.channels
        self.conv_1 = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.conv_2 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.embed = nn.Linear(channels * -(-config.num_mels // 4), width)
        self.dropout = nn.Dropout(config.dropout)
        window = round(config.attention_seconds / _SECONDS_PER_TOKEN)
        self.blocks = nn.ModuleList(
            ConformerBlock(width, config.num_heads, window, config.kernel_size, dropout=config.dropout)
            for _ in range(config.num_layers)
        )

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        spectrogram, valid = self.spectrogram(values, lengths, draws)
        keep = valid[:, None, None, ::2].to(spectrogram.dtype)
        x = spectrogram[:, None].contiguous(memory_format=torch.channels_last)
        x = F.relu(self.conv_1(x), inplace=True) * keep
        x = F.relu(self.conv_2(x), inplace=True)
        mask = valid[:, ::4]
        tokens = self.dropout(self.embed(x.permute(0, 3, 1, 2).flatten(2)))
        length = tokens.shape[1]
        positions = torch.arange(length, device=tokens.device)
        for block in self.blocks:
            tokens = block(tokens, mask, positions)
        return Tokens(tokens, mask, (length,))
