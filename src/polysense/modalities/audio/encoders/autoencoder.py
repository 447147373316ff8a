"""An autoencoder's encoder on the log-mel spectrogram, trained on the column itself; tokens run along time.

Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks" (Science 313, 2006): an encoder
squeezes the input through a narrow code from which a decoder must reconstruct it, so the code learns without labels.
Code and decoder are convolutional over time, four frames (40 ms) to a code of `code_width` numbers. In training the
encoder sees the augmented spectrogram and the decoder reconstructs the plain one, which makes it a denoising
autoencoder (Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008) wherever
augmentation is on.

By default both losses train the encoder, the task's and `reconstruction` times the mean squared error. With
`detach: true` the task trains nothing in front of the tokens: the features are purely self-supervised, as in the
classical order (autoencoder first, classifier on its codes after), but learned in the same run. Reconstructing
everything spends the code on what is loud rather than on what matters for the task, so where labels are plenty
audio_cnn is usually ahead; where they are few, rows without a target still teach this encoder.

Prediction never runs the decoder; it stays in the bundle, so that training can go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.batch import ColumnBatch
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths, draws_of
from polysense.nn.layers.convolution import ValidGroupNorm
from polysense.nn.layers.spectrogram import AugmentedLogMel
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["AudioAutoencoder", "AudioAutoencoderConfig"]


@dataclass(frozen=True, kw_only=True)
class AudioAutoencoderConfig(EncoderConfig):
    """The encoder of an autoencoder on the log-mel spectrogram, trained on the column itself.

    Attributes:
        num_mels: Mel bands of the spectrogram.
        channels: Channels of the first convolution; doubled once.
        code_width: Size of the code of 40 ms of audio.
        reconstruction: Weight of the reconstruction's loss, the mean squared error per band and frame of the
            standardized spectrogram; predicting each clip's mean costs 1.
        detach: Whether the encoder is trained on the reconstruction loss only, without the task's gradient.
        dropout: On the code.
        max_time_mask: Longest SpecAugment time mask in training, as a fraction of the clip; 0 switches it off.
        max_frequency_mask: Widest SpecAugment frequency mask in training, as a fraction of the bands.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})
    type: Literal["audio_autoencoder"] = "audio_autoencoder"
    num_mels: PositiveInt = 40
    channels: PositiveInt = 64
    code_width: PositiveInt = 32
    reconstruction: float = 1.0
    detach: bool = False
    dropout: FractionBelowOne = 0.1
    max_time_mask: float = 0.1
    max_frequency_mask: float = 0.1

    def __post_init__(self) -> None:
        if self.reconstruction <= 0:
            raise ConfigError(
                f"reconstruction: {self.reconstruction} would leave the decoder untrained; give a weight above 0"
            )


class AudioAutoencoder(Encoder, config=AudioAutoencoderConfig):
    """Log-mel, two strided convolutions over time, a narrow code; its mirror image reconstructs the log-mel."""

    def __init__(self, config: AudioAutoencoderConfig, column: AudioColumn, width: int) -> None:
        super().__init__(column, width)
        self.config = config
        # Bands are channels here, and a warped band would be a different target: no warp.
        self.spectrogram = AugmentedLogMel(
            column.sample_rate, config.num_mels, config.max_time_mask, config.max_frequency_mask
        )
        mels, channels = config.num_mels, config.channels
        self.down_1 = nn.Conv1d(mels, channels, 5, stride=2, padding=2)
        self.norm_1 = ValidGroupNorm(channels)
        self.down_2 = nn.Conv1d(channels, 2 * channels, 5, stride=2, padding=2)
        self.norm_2 = ValidGroupNorm(2 * channels)
        self.code = nn.Linear(2 * channels, config.code_width)
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(config.code_width, width)
        self.decoder = _Decoder(width, mels, channels)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.detach):
            return self._encode(values, lengths, draws)

    def _encode(self, values: Tensor, lengths: Tensor, draws: Tensor | None) -> Tokens:
        spectrogram, valid = self.spectrogram(values, lengths, draws)
        x = spectrogram
        for down, norm in ((self.down_1, self.norm_1), (self.down_2, self.norm_2)):
            valid = valid[:, ::2]
            x = F.relu(norm(down(x)[:, :, None], valid[:, None, None, :].to(x.dtype)), inplace=True)[:, :, 0]
        tokens = self.projection(self.dropout(self.code(x.transpose(1, 2))))
        positions = sinusoidal(torch.arange(tokens.shape[1], device=tokens.device), self.width).to(tokens.dtype)
        return Tokens(tokens + 0.1 * positions, valid, (tokens.shape[1],))

    @property
    def auxiliary_losses(self) -> Mapping[str, float]:
        return {"reconstruction": self.config.reconstruction}

    def auxiliary(self, column: ColumnBatch, tokens: Tokens) -> dict[str, Float[Tensor, " batch"]]:
        batch, num_items = column.lengths.shape
        values, lengths = column.values.flatten(0, 1), column.lengths.flatten()
        if self.config.detach:
            # The task's tokens carry no gradient, so the reconstruction has its own pass.
            tokens = self._encode(values, lengths, draws_of(column))
        target, valid = self.spectrogram.log_mel(values, lengths)
        # A cell's items were joined; each is reconstructed from its own tokens.
        items = batch * num_items
        reconstructed = self.decoder(tokens.values.reshape(items, -1, self.width), tokens.mask.reshape(items, -1))
        squared = (reconstructed[..., : target.shape[-1]] - target).square().mean(dim=1) * valid
        num_frames = valid.view(batch, -1).sum(dim=1).clamp(min=1)
        return {"reconstruction": squared.view(batch, -1).sum(dim=1) / num_frames}

    def restore(
        self, values: Int[Tensor, "items samples"], lengths: Int[Tensor, " items"]
    ) -> tuple[Float[Tensor, "items mels frames"], Float[Tensor, "items mels frames"], Bool[Tensor, "items frames"]]:
        """What the decoder makes of clips, their log-mel spectrograms, and which frames are valid."""
        tokens = self._encode(values, lengths, None)
        target, valid = self.spectrogram.log_mel(values, lengths)
        return self.decoder(tokens.values, tokens.mask)[..., : target.shape[-1]], target, valid


class _Decoder(nn.Module):
    """Tokens to four log-mel frames each, by two transposed convolutions."""

    def __init__(self, width: int, num_mels: int, channels: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * channels)
        self.up_1 = nn.ConvTranspose1d(2 * channels, channels, 4, stride=2, padding=1)
        self.up_2 = nn.ConvTranspose1d(channels, num_mels, 4, stride=2, padding=1)

    def forward(
        self, tokens: Float[Tensor, "items length width"], mask: Bool[Tensor, "items length"]
    ) -> Float[Tensor, "items mels frames"]:
        x = F.relu(self.expand(tokens)).masked_fill(~mask[..., None], 0.0).transpose(1, 2)
        x = F.relu(self.up_1(x)) * mask.repeat_interleave(2, dim=1)[:, None, :]
        out: Tensor = self.up_2(x)
        return out
