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

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.encoders.base import Encoder
from polysense.nn.encoders.spectrogram import SpectrogramEncoderConfig
from polysense.nn.layers.conformer import ConformerBlock
from polysense.nn.layers.subsampling import SECONDS_PER_TOKEN, Subsampling

__all__ = ["Conformer", "ConformerConfig"]


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
        if self.attention_seconds < SECONDS_PER_TOKEN:
            raise ConfigError(
                f"attention_seconds: {self.attention_seconds} is less than one token, {SECONDS_PER_TOKEN} s"
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
        self.subsampling = Subsampling(config.spectrogram(column), config.num_mels, config.channels, width)
        self.dropout = nn.Dropout(config.dropout)
        window = round(config.attention_seconds / SECONDS_PER_TOKEN)
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
        embedded, mask = self.subsampling(values, lengths, draws)
        tokens = self.dropout(embedded)
        length = tokens.shape[1]
        positions = torch.arange(length, device=tokens.device)
        for block in self.blocks:
            tokens = block(tokens, mask, positions)
        return Tokens(tokens, mask, (length,))
