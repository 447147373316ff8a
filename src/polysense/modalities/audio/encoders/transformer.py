"""A transformer over frames of the log-mel spectrogram; tokens run along time.

In the line of AST (Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021), but not AST: that cuts the
spectrogram into 16x16 patches that overlap, adds learned positions for about 10 s, and starts from a network trained
on ImageNet. Here two strided convolutions make one token per 40 ms that spans all bands (the front of
Speech-Transformer, Dong et al., ICASSP 2018, section 3.3), since convolutions in front train better from few clips;
positions are sinusoidal, so there is no longest clip; there are no class tokens, since the fusion summarizes; weights
are random. For AST itself, with its weights, use the encoder `pretrained`.

Attention compares all pairs of frames that are at most `attention_seconds` apart, which is all pairs of a clip that is
no longer than that. In longer clips the cost grows with the length, not with its square: 10 minutes are 15,000
tokens, whose pairs would be 225 million.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from polysense.config.limits import PositiveInt
from polysense.core.tokens import Tokens
from polysense.modalities.audio.encoders.spectrogram import AttentiveSpectrogramConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.encoder import Draws, Encoder, Items, Lengths
from polysense.nn.layers.local_attention import LocalTransformerBlock
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["AudioTransformer", "AudioTransformerConfig"]


@dataclass(frozen=True, kw_only=True)
class AudioTransformerConfig(AttentiveSpectrogramConfig):
    """A transformer over frames of the log-mel spectrogram, trained from scratch."""

    type: Literal["audio_transformer"] = "audio_transformer"
    num_mels: PositiveInt = 64


class AudioTransformer(Encoder, config=AudioTransformerConfig):
    """Log-mel, two strided convolutions, all bands joined into each time step, transformer blocks."""

    def __init__(self, config: AudioTransformerConfig, column: AudioColumn, width: int) -> None:
        super().__init__(column, width)
        self.subsampling = config.subsampling(column, width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            LocalTransformerBlock(width, config.num_heads, config.window, dropout=config.dropout)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        embedded, mask = self.subsampling(values, lengths, draws)
        length = embedded.shape[1]
        positions = sinusoidal(torch.arange(length, device=embedded.device), self.width).to(embedded.dtype)
        tokens = self.dropout(embedded + positions)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return Tokens(self.norm(tokens), mask, (length,))
