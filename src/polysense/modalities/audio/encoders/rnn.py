"""Convolutions on the log-mel spectrogram, then a bidirectional LSTM over time; tokens run along time.

Sainath et al., "Convolutional, Long Short-Term Memory, Fully Connected Deep Neural Networks" (ICASSP 2015): the
convolutions take out small shifts of pitch and time, the LSTM models what follows what. Here the convolutions are
residual blocks with group normalization, time is halved twice only (a token per 40 ms), and the fully connected layers
after the LSTM are one projection, since the fusion and the heads follow.

The order of audio clips is in every token, which a convolution alone sees only as far as its kernels reach. The price:
the LSTM's steps come one after another, so training is slower than audio_cnn's; its cost grows linearly with the
length, so no recording is too long. Neither direction reads padding before a clip's own steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.modalities.audio.encoders.spectrogram import SpectrogramEncoderConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.encoder import Draws, Encoder, Items, Lengths
from polysense.nn.layers.convolution import ResidualBlock
from polysense.nn.layers.recurrent import BidirectionalRNN

__all__ = ["AudioCNNLSTM", "AudioCNNLSTMConfig"]


@dataclass(frozen=True, kw_only=True)
class AudioCNNLSTMConfig(SpectrogramEncoderConfig):
    """Convolutions on the log-mel spectrogram and a bidirectional LSTM over time, trained from scratch.

    Attributes:
        channels: Channels of the first convolution; doubled twice.
        lstm_width: Units of the LSTM in each direction; null = half the model's width.
        num_layers: Layers of the LSTM.
        dropout: Before the LSTM and between its layers.
    """

    type: Literal["audio_cnn_lstm"] = "audio_cnn_lstm"
    channels: PositiveInt = 8
    lstm_width: int | None = None
    num_layers: PositiveInt = 1
    dropout: FractionBelowOne = 0.2


class AudioCNNLSTM(Encoder, config=AudioCNNLSTMConfig):
    """Log-mel, a strided stem, two residual stages, a bidirectional LSTM, a projection."""

    def __init__(self, config: AudioCNNLSTMConfig, column: AudioColumn, width: int) -> None:
        super().__init__(column, width)
        self.spectrogram = config.spectrogram(column)
        channels = config.channels
        # Not normalized: the spectrogram is, and this layer's output is the largest by far.
        self.stem = nn.Conv2d(1, channels, 5, stride=2, padding=2)
        self.stages = nn.ModuleList(
            ResidualBlock(channels * 2**stage, channels * 2 ** (stage + 1)) for stage in range(2)
        )
        self.dropout = nn.Dropout(config.dropout)
        units = config.lstm_width or -(-width // 2)
        inputs = channels * 4 * -(-config.num_mels // 8)
        self.lstm = BidirectionalRNN(nn.LSTM, inputs, units, config.num_layers, config.dropout)
        self.projection = nn.Linear(2 * units, width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
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
        return Tokens(self.projection(self.lstm(steps, mask.sum(dim=1))), mask, (steps.shape[1],))
