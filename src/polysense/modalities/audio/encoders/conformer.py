"""A Conformer over frames of the log-mel spectrogram; tokens run along time, 25 a second.

Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition" (Interspeech 2020, section 2): two
convolutions of stride 2 take four frames of 10 ms to one token, then blocks of attention and convolution follow (see
`layers.conformer`, also for what differs from the paper). What an audio clip is lies in what is near it, which
convolutions read at little cost; what it means in its sentence lies further off, which attention reads.

Attention compares pairs of tokens that are at most `attention_seconds` apart, so cost and memory grow with the length
of an audio clip and not with its square, and there is no longest one. Each row is normalized on its own, in training
too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from polysense.config.limits import PositiveInt
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.spectrogram import AttentiveSpectrogramConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.encoder import Draws, Encoder, Items, Lengths
from polysense.nn.layers.conformer import ConformerBlock

__all__ = ["Conformer", "ConformerConfig"]


@dataclass(frozen=True, kw_only=True)
class ConformerConfig(AttentiveSpectrogramConfig):
    """A Conformer over frames of the log-mel spectrogram, trained from scratch; for speech recognition.

    Attributes:
        kernel_size: Tokens of 40 ms that a block's convolution spans; odd.
    """

    type: Literal["conformer"] = "conformer"
    num_mels: PositiveInt = 80
    num_layers: PositiveInt = 4
    kernel_size: PositiveInt = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size must be odd, so that a token is in its middle; found {self.kernel_size}")


class Conformer(Encoder, config=ConformerConfig):
    """Log-mel, two strided convolutions, all bands joined into each time step, Conformer blocks."""

    def __init__(self, config: ConformerConfig, column: AudioColumn, width: int) -> None:
        super().__init__(column, width)
        self.subsampling = config.subsampling(column, width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            ConformerBlock(width, config.num_heads, config.window, config.kernel_size, dropout=config.dropout)
            for _ in range(config.num_layers)
        )

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        embedded, mask = self.subsampling(values, lengths, draws)
        tokens = self.dropout(embedded)
        length = tokens.shape[1]
        positions = torch.arange(length, device=tokens.device)
        for block in self.blocks:
            tokens = block(tokens, mask, positions)
        return Tokens(tokens, mask, (length,))
