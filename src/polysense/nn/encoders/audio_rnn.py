"""Convolutions on the log-mel spectrogram, then a bidirectional LSTM over time; tokens run along time.

Sainath et al., "Convolutional, Long Short-Term Memory, Fully Connected Deep Neural Networks" (ICASSP 2015): the
convolutions take out small shifts of pitch and time, the LSTM models what follows what. Here the convolutions are
residual blocks with group normalisation, time is halved twice only (a token per 40 ms), and the fully connected layers
after the LSTM are one projection, since the fusion and the heads follow.

The order of sounds is in every token, which a convolution alone sees only as far as its kernels reach. The price: the
LSTM's steps come one after another, so training is slower than audio_cnn's; its cost grows linearly with the length,
so no recording is too long. Neither direction reads padding before a clip's own steps.
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
from polysense.errors import ConfigError
from polysense.nn.encoders.base import Encoder, EncoderConfig
from polysense.nn.layers.convolution import ResidualBlock
from polysense.nn.layers.recurrent import BidirectionalRNN
from polysense.nn.layers.spectrogram import AugmentedLogMel

__all__ = ["AudioCNNLSTM", "AudioCNNLSTMConfig"]


@dataclass(frozen=True, kw_only=True)
class AudioCNNLSTMConfig(EncoderConfig):
    """Convolutions on the log-mel spectrogram and a bidirectional LSTM over time, trained from scratch.

    Attributes:
        num_mels: Mel bands of the spectrogram.
        channels: Channels of the first convolution; doubled twice.
        lstm_width: Units of the LSTM in each direction; null = half the model's width.
        num_layers: Layers of the LSTM.
        dropout: Before the LSTM and between its layers.
        max_time_mask: Longest SpecAugment time mask in training, as a fraction of the clip; 0 switches it off.
        max_frequency_mask: Widest SpecAugment frequency mask in training, as a fraction of the bands.
        max_frequency_warp: Largest stretch of the frequency axis in training, as a fraction; 0 switches it off.
        max_time_stretch: Most that a clip is slowed down or sped up in training, at the same pitch; 0.25 means by a
            factor of 1/1.25 to 1.25; 0 switches it off.
        max_band_gain: Most that frequency bands are made louder or softer in training, as another microphone or room
            would, in standard deviations of the clip's spectrogram; 0 switches it off.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.AUDIO})
    type: Literal["audio_cnn_lstm"] = "audio_cnn_lstm"
    num_mels: int = 40
    channels: int = 8
    lstm_width: int | None = None
    num_layers: int = 1
    dropout: float = 0.2
    max_time_mask: float = 0.1
    max_frequency_mask: float = 0.1
    max_frequency_warp: float = 0.15
    max_time_stretch: float = 0.0
    max_band_gain: float = 0.0

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise ConfigError(f"num_layers: at least 1 layer of the LSTM; found {self.num_layers}")

    def build(self, column: Column, width: int, resources: Path | None = None) -> AudioCNNLSTM:
        self.check(column)
        return AudioCNNLSTM(self, column, width)


class AudioCNNLSTM(Encoder):
    """Log-mel, a strided stem, two residual stages, a bidirectional LSTM, a projection."""

    def __init__(self, config: AudioCNNLSTMConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        assert column.sample_rate is not None
        self.spectrogram = AugmentedLogMel(
            column.sample_rate,
            config.num_mels,
            config.max_time_mask,
            config.max_frequency_mask,
            config.max_frequency_warp,
            config.max_time_stretch,
            config.max_band_gain,
        )
        channels = config.channels
        # Not normalised: the spectrogram is, and this layer's output is the largest by far.
        self.stem = nn.Conv2d(1, channels, 5, stride=2, padding=2)
        self.stages = nn.ModuleList(
            ResidualBlock(channels * 2**stage, channels * 2 ** (stage + 1)) for stage in range(2)
        )
        self.dropout = nn.Dropout(config.dropout)
        units = config.lstm_width or -(-width // 2)
        inputs = channels * 4 * -(-config.num_mels // 8)
        self.lstm = BidirectionalRNN(nn.LSTM, inputs, units, config.num_layers, config.dropout)
        self.project = nn.Linear(2 * units, width)

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        spectrogram, valid = self.spectrogram(values, lengths, draws)
        x = spectrogram[:, None].contiguous(memory_format=torch.channels_last)
        keep = valid[:, None, None, ::2].to(x.dtype)
        x = F.relu(self.stem(x), inplace=True) * keep
        # Pooling values that are not negative, padding being 0: a pair that is half padding gives its valid half.
        x = F.max_pool2d(x, 2, ceil_mode=True)
        keep = keep[..., ::2]
        x = self.stages[0](x, keep)
        x = F.max_pool2d(x, (2, 1), ceil_mode=True)
        x = self.stages[1](x, keep)
        mask = keep[:, 0, 0, :] > 0
        steps = self.dropout(x.permute(0, 3, 1, 2).flatten(2))
        return Tokens(self.project(self.lstm(steps, mask.sum(dim=1))), mask, (steps.shape[1],))
