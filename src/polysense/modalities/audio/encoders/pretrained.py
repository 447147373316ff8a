"""A transformers backbone for audio: of the waveform (wav2vec2-like) or of spectrograms (Whisper, AST).

A model that takes a fixed stretch of audio at most (Whisper: 30 s; AST: about 10 s) is run over consecutive stretches,
since cutting an audio clip there would be a silent change, and over a shorter clip as it is, without the silence that
its extractor fills up with; `nn.layers.pretrained_audio` says how, and how rows are kept apart.

Two things that transformers does in training are switched off: its own masking of wav2vec2-like features, which draws
from numpy's global generator (not reproducible) and fails on clips under 0.2 s, and the dropping of whole layers, which
leaves parameters without a gradient where several processes wait for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from polysense.core.schema import Column
from polysense.core.tokens import Features, PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioRequirements
from polysense.nn.backbone import Layers
from polysense.nn.encoder import Items, Lengths
from polysense.nn.layers.averaged import averaged
from polysense.nn.layers.pretrained_audio import (
    encode_spectrograms,
    encode_waveforms,
    filled_up,
    is_audio,
    is_sequence,
    is_waveform,
    keep_rows_apart,
    layers_of_blank,
    samples_per_position,
)
from polysense.nn.pretrained import Pretrained, PretrainedConfig
from polysense.nn.pretrained_files import from_pretrained

__all__ = ["PretrainedAudio"]


class PretrainedAudio(Pretrained):
    """Tokens along time, as many in a second as the backbone has."""

    usual_layers: ClassVar[Layers] = "weighted"
    usual_tokens: ClassVar[int | None] = 64
    averages_tokens: ClassVar[bool] = True

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
        keep_rows_apart(network)

    @classmethod
    def blank(cls, network: Any, settings: Any, extractor: Any, column: Column) -> tuple[Tensor, ...]:
        return layers_of_blank(network, extractor)

    def run(self, values: Int[Tensor, "items samples"], lengths: Int[Tensor, " items"]) -> tuple[Tokens, ...]:
        # What a frozen network gives is kept and compared: it depends on the clip alone.
        exact = torch.is_inference_mode_enabled() or self.frozen
        chosen = self.chosen if self.needs_layers else None
        if is_waveform(self.settings):
            seconds = self.config.max_seconds
            joined, mask = encode_waveforms(self.network, self.extractor, values, lengths, seconds, chosen, exact=exact)
        else:
            if self.config.padding == "full":
                values, lengths = filled_up(self.network, self.extractor, values, lengths)
            joined, mask = encode_spectrograms(self.network, self.extractor, values, lengths, chosen, exact=exact)
        if self.most_tokens is not None and is_sequence(self.settings):
            joined, mask = averaged(joined, mask, self.most_tokens)
        layers = torch.split(joined, self.shape.hidden, dim=2)
        return tuple(Tokens(layer, mask, (mask.shape[1],)) for layer in layers)

    def _room(self, values: Items, lengths: Lengths, sizes: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        # Of a longer clip fewer tokens may be left than of a shorter one, which has just too few to be averaged.
        room, grid = super()._room(values, lengths, sizes)
        most = self.most_tokens
        return (most if most is not None and most // 2 < room < most else room), grid

    @property
    def stored_levels(self) -> tuple[PyramidLevel, ...]:
        """None beside the layers: the states that a head reads are those of the last one."""
        return ()

    def tokens_of(self, features: Features) -> Tokens:
        tokens = super().tokens_of(features)
        return replace(tokens, pyramid=(features.layers[-1],)) if self.gives_pyramid else tokens

    @property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        """The states of the last layer, as the network gives them; none where that is not handed on."""
        if self.chosen[-1] != self.shape.num_layers - 1:
            return ()
        stride = samples_per_position(self.network, self.extractor)
        return (PyramidLevel(stride=(stride,), width=self.shape.hidden),)
