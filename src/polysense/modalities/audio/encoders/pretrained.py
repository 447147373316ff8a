"""A transformers backbone for audio: of the waveform (wav2vec2-like) or of spectrograms (Whisper, AST).

A model that takes a fixed stretch of audio (Whisper: 30 s; AST: about 10 s) is run over consecutive stretches, since
cutting an audio clip there would be a silent change; `nn.layers.pretrained_audio` says how, and how rows are kept
apart.

Two things that transformers does in training are switched off: its own masking of wav2vec2-like features, which draws
from numpy's global generator (not reproducible) and fails on clips under 0.2 s, and the dropping of whole layers, which
leaves parameters without a gradient where several processes wait for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioRequirements
from polysense.nn.layers.pretrained_audio import (
    encode_spectrograms,
    encode_waveforms,
    is_audio,
    is_waveform,
    keep_rows_apart,
)
from polysense.nn.pretrained import Pretrained, PretrainedConfig, from_pretrained

__all__ = ["PretrainedAudio"]


class PretrainedAudio(Pretrained):
    """Tokens along time, as many in a second as the backbone has."""

    @classmethod
    def requested(cls, config: PretrainedConfig, settings: Any) -> AudioRequirements:
        if not is_audio(settings):
            raise ConfigError(f"{config.path}: holds a model of the type {settings.model_type}, which takes no audio")
        return AudioRequirements(sample_rate=int(cls.feature_extractor(settings, config, config.path).sampling_rate))

    @classmethod
    def adapt(cls, settings: Any, config: PretrainedConfig, column: Column) -> None:
        # Set whether the config names them or not: the models take True for what it doesn't name.
        settings.apply_spec_augment, settings.layerdrop, settings.encoder_layerdrop = False, 0.0, 0.0

    @classmethod
    def feature_extractor(cls, settings: Any, config: PretrainedConfig, path: str) -> Any:
        """The model's own; for an architecture alone the usual one of its kind."""
        import transformers

        if config.weights == "pretrained" or (Path(path) / "preprocessor_config.json").is_file():
            return from_pretrained(transformers.AutoFeatureExtractor, path, config.revision)
        usual: Any
        if settings.model_type == "whisper":
            usual, seconds = transformers.WhisperFeatureExtractor, settings.max_source_positions * 2 // 100
            return usual(feature_size=settings.num_mel_bins, chunk_length=seconds)
        if settings.model_type == "audio-spectrogram-transformer":
            usual = transformers.ASTFeatureExtractor
            return usual(num_mel_bins=settings.num_mel_bins, max_length=settings.max_length)
        usual = transformers.Wav2Vec2FeatureExtractor
        return usual(sampling_rate=16_000, do_normalize=True)

    @classmethod
    def prepare(cls, network: Any, settings: Any) -> None:
        if is_waveform(settings):
            keep_rows_apart(network)

    def run(self, values: Int[Tensor, "items samples"], lengths: Int[Tensor, " items"]) -> Tokens:
        exact, seconds = torch.is_inference_mode_enabled(), self.config.max_seconds
        if is_waveform(self.settings):
            hidden, mask = encode_waveforms(self.network, self.extractor, values, lengths, seconds, exact=exact)
        else:
            hidden, mask = encode_spectrograms(self.network, self.extractor, values, lengths, exact=exact)
        return Tokens(hidden, mask, (mask.shape[1],))
