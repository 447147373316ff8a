"""A residual network on the log-mel spectrogram; tokens run along time.

Time is halved three times (one token per 80 ms), frequency until four bands remain, which are then joined by a
projection, so pitch position survives. Every layer zeroes what lies beyond a clip's end: a clip's tokens do not depend
on how long
its batch mates are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.modality import Modality
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.nn.encoders.base import Encoder, EncoderConfig
from polysense.nn.layers.convolution import ChannelNorm, ResidualBlock
from polysense.nn.layers.spectrogram import LogMel, spec_augment
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["AudioCNN", "AudioCNNConfig"]


@dataclass(frozen=True, kw_only=True)
class AudioCNNConfig(EncoderConfig):
    """A residual network on the log-mel spectrogram, trained from scratch.

    Attributes:
        num_mels: Mel bands of the spectrogram.
        channels: Channels of the first stage; doubled at each of three halvings.
        max_time_mask: Longest SpecAugment time mask in training, as a fraction of the clip; 0 switches it off.
        max_frequency_mask: Widest SpecAugment frequency mask in training, as a fraction of the bands.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.AUDIO})
    type: Literal["audio_cnn"] = "audio_cnn"
    num_mels: int = 64
    channels: int = 16
    max_time_mask: float = 0.15
    max_frequency_mask: float = 0.15

    def build(self, column: Column, width: int, resources: Path | None = None) -> AudioCNN:
        self.check(column)
        return AudioCNN(self, column, width)


class AudioCNN(Encoder):
    """Log-mel, a strided stem, residual stages, the remaining bands joined into each time step."""

    def __init__(self, config: AudioCNNConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        assert column.sample_rate is not None
        self.config = config
        self.log_mel = LogMel(column.sample_rate, config.num_mels)
        channels = config.channels
        self.stem = nn.Conv2d(1, channels, 3, stride=(2, 1), padding=1, bias=False)
        self.stem_norm = ChannelNorm(channels)
        self.stages = nn.ModuleList()
        for stage in range(3):
            self.stages.append(ResidualBlock(channels * 2 ** max(stage - 1, 0), channels * 2**stage, (2, 2)))
        bands = -(-config.num_mels // 16)
        self.project = nn.Linear(channels * 4 * bands, width)

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        spectrogram, valid = self.log_mel(values, lengths)
        if self.training and draws is not None and self.config.max_time_mask + self.config.max_frequency_mask > 0:
            num_frames = valid.sum(dim=1)
            spectrogram = spec_augment(
                spectrogram, num_frames, draws, self.config.max_time_mask, self.config.max_frequency_mask
            )
        keep = valid[:, None, None, :].to(spectrogram.dtype)
        x = spectrogram[:, None].contiguous(memory_format=torch.channels_last)
        x = F.relu(self.stem_norm(self.stem(x)), inplace=True) * keep
        for stage in self.stages:
            # A 3x3 convolution of stride 2 gives ceil(T / 2) columns, the first of each pair deciding.
            keep = keep[..., ::2]
            x = stage(x, keep)
        tokens = self.project(x.permute(0, 3, 1, 2).flatten(2))
        length = tokens.shape[1]
        positions = sinusoidal(torch.arange(length, device=tokens.device), self.width).to(tokens.dtype)
        return Tokens(tokens + 0.1 * positions, keep[:, 0, 0, :] > 0, (length,))
