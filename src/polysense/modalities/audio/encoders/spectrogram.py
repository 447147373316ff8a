"""What encoders on a log-mel spectrogram have in common: its size, and how it is varied in training.

Not an encoder itself. An encoder whose config derives from this one has the settings and their meaning, and builds its
spectrogram with `spectrogram`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.encoder import EncoderConfig
from polysense.nn.layers.spectrogram import AugmentedLogMel
from polysense.nn.layers.subsampling import SECONDS_PER_TOKEN, Subsampling

__all__ = ["AttentiveSpectrogramConfig", "SpectrogramEncoderConfig"]


@dataclass(frozen=True, kw_only=True)
class SpectrogramEncoderConfig(EncoderConfig):
    """The spectrogram that audio encoders read.

    Attributes:
        num_mels: Mel bands of the spectrogram.
        max_time_mask: Longest SpecAugment time mask in training, as a fraction of the clip; 0 switches it off.
        max_frequency_mask: Widest SpecAugment frequency mask in training, as a fraction of the bands.
        max_frequency_warp: Largest stretch of the frequency axis in training, as a fraction, which makes new voices of
            those that are there; 0 switches it off.
        max_time_stretch: Most that a clip is slowed down or sped up in training, at the same pitch; 0.25 means by a
            factor of 1/1.25 to 1.25; 0 switches it off.
        max_band_gain: Most that frequency bands are made louder or softer in training, as another microphone or room
            would, in standard deviations of the clip's spectrogram; 0 switches it off.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})
    num_mels: PositiveInt = 40
    max_time_mask: float = 0.1
    max_frequency_mask: float = 0.1
    max_frequency_warp: float = 0.15
    max_time_stretch: float = 0.0
    max_band_gain: float = 0.0

    def spectrogram(self, column: AudioColumn) -> AugmentedLogMel:
        """The layer that makes the spectrogram of an audio column's samples."""
        return AugmentedLogMel(
            column.sample_rate,
            self.num_mels,
            self.max_time_mask,
            self.max_frequency_mask,
            self.max_frequency_warp,
            self.max_time_stretch,
            self.max_band_gain,
        )


@dataclass(frozen=True, kw_only=True)
class AttentiveSpectrogramConfig(SpectrogramEncoderConfig):
    """How subsampled frames attend to one another.

    Attributes:
        channels: Channels of the two convolutions in front.
        num_layers: Blocks.
        num_heads: Attention heads; must divide the model's width.
        attention_seconds: How far a token attends, either way, in seconds. Shorter clips are seen whole by every token;
            in longer ones what lies further apart meets over several layers.
        dropout: On the embedded frames and within the blocks.
    """

    channels: PositiveInt = 32
    num_layers: PositiveInt = 3
    num_heads: PositiveInt = 4
    attention_seconds: float = 10.0
    dropout: FractionBelowOne = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attention_seconds >= SECONDS_PER_TOKEN:
            raise ConfigError(
                f"attention_seconds: {self.attention_seconds} is less than one token, {SECONDS_PER_TOKEN} s"
            )

    @property
    def window(self) -> int:
        """Tokens that one attends to, either way."""
        return round(self.attention_seconds / SECONDS_PER_TOKEN)

    def subsampling(self, column: AudioColumn, width: int) -> Subsampling:
        """The layer from an audio column's samples to tokens.

        Raises:
            ConfigError: The heads do not divide the width.
        """
        if width % self.num_heads:
            raise ConfigError(
                f"model.encoders.{column.name}: {self.num_heads} heads do not divide the model's width of {width}"
            )
        return Subsampling(self.spectrogram(column), self.num_mels, self.channels, width)
