"""The audio modality: audio clips, as int16 samples at one rate for the column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polysense.core.backbones import Backbone, Backbones
from polysense.core.corruption import Corruption
from polysense.core.descriptor import Descriptor
from polysense.core.display import CellDisplay
from polysense.core.file_spec import FileSpec
from polysense.core.likeness import Likeness
from polysense.core.modality_spec import (
    FittedColumn,
    MakeAligner,
    MakeParts,
    ModelSize,
    Preview,
    parts,
)
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.modalities.audio.column import AudioProcessor
from polysense.modalities.audio.corruptions import CORRUPTIONS
from polysense.modalities.audio.decode import EXTENSIONS, audio_info, is_signature
from polysense.modalities.audio.describe import DESCRIPTORS
from polysense.modalities.audio.display import display_audio
from polysense.modalities.audio.likeness import LIKENESS
from polysense.modalities.audio.parts import audio_parts
from polysense.modalities.audio.preview import as_playable, log_mel_image, spectrogram_image
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.audio.segments import align_audio

__all__ = ["SPEC", "AudioSpec"]

_TOKENS_PER_SECOND = 25  # what strided encoders make of audio
_MAX_CLIPS = 3
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_BACKBONES = (
    Backbone(
        name="openai/whisper-tiny", license="Apache-2.0", parameters=37.8, megabytes=151,
        purpose="speech of 99 languages, voices, sounds", speed="432 ms for 30 s",
    ),
    Backbone(
        name="openai/whisper-tiny.en", license="Apache-2.0", parameters=37.8, megabytes=151,
        purpose="English speech, voices, sounds", speed="432 ms for 30 s",
    ),
    Backbone(
        name="openai/whisper-base", license="Apache-2.0", parameters=72.6, megabytes=290,
        purpose="speech of 99 languages, voices, sounds",
    ),
    Backbone(
        name="facebook/wav2vec2-base", license="Apache-2.0", parameters=95.0, megabytes=380, purpose="English speech"
    ),
    Backbone(
        name="facebook/hubert-base-ls960", license="Apache-2.0", parameters=94.4, megabytes=378,
        purpose="English speech",
    ),
    Backbone(
        name="facebook/wav2vec2-base-960h", license="Apache-2.0", parameters=94.4, megabytes=378,
        purpose="English speech",
    ),
    Backbone(
        name="MIT/ast-finetuned-audioset-10-10-0.4593", license="BSD-3-Clause", parameters=86.6, megabytes=346,
        purpose="sounds of 527 kinds; slow without a GPU",
    ),
)  # fmt: skip


class AudioSpec(FileSpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "audio", 30, ("an audio clip", "audio clips")
    record, column_type = AudioColumn, "audio"
    extensions = EXTENSIONS
    dtype, length_multiple = np.int16, 400  # samples, 25 ms at 16 kHz: few distinct shapes occur

    def recognizes(self, head: bytes) -> bool:
        return is_signature(head)

    def recognizes_decoded(self, value: Mapping[str, object]) -> bool:
        return value.get("array") is not None and bool(value.keys() & {"sampling_rate", "sample_rate"})

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "audio_cnn"} | ({} if size is None else {"channels": max(size.channels // 2, 4)})

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return [{"type": "log_mel_statistics"}, {"type": "mfcc_statistics"}, {"type": "spectral_shape"}]

    def default_augmentation(self, cells: Sequence[object], root: Path) -> Mapping[str, object]:
        # White noise on audio clips that are noisy already cost 7 points on degraded speech.
        return {"type": "audio", "noise_probability": 0.0}

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return (length,)

    def cost(self, column: Column, length: float | int) -> float:
        return length * _TOKENS_PER_SECOND / AudioColumn.of(column).sample_rate

    def measure(self, fitted: FittedColumn, cell: object, source: SourceInfo, root: Path) -> list[int]:
        rate = AudioColumn.of(fitted.column).sample_rate
        infos = [audio_info(part, root) for part in parts(cell)]
        return [math.ceil(frames * rate / source_rate) for source_rate, frames, _ in infos]

    def longest(self, fitted: FittedColumn) -> int | None:
        assert isinstance(fitted, AudioProcessor)
        return fitted.max_samples

    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        rate = AudioColumn.of(column).sample_rate
        chosen = items[: min(most, _MAX_CLIPS)]
        clips = [as_playable(item, rate) for item in chosen] if playable else []
        seconds = ", ".join(f"{len(item) / rate:.1f} s" for item in chosen)
        return Preview(
            images=[spectrogram_image(item) for item in chosen],
            audio=[player for player in clips if player is not None],
            note=seconds + (f", and {len(items) - len(chosen)} more" if len(items) > len(chosen) else ""),
            stretches=True,
        )

    def display(self, cell: object, root: Path) -> CellDisplay:
        return display_audio(cell, root)

    def preview_reconstruction(self, column: Column, value: np.ndarray) -> Preview:
        return Preview(images=[log_mel_image(value.astype(np.float32))], stretches=True)

    def summary(self, column: Column) -> Mapping[str, str]:
        column = AudioColumn.of(column)
        return {
            "sample rate": f"{column.sample_rate:,} Hz",
            "length of a long clip": f"{column.typical_length / column.sample_rate:.3g} s",
        }

    @property
    def corruptions(self) -> Sequence[Corruption]:
        return CORRUPTIONS

    @property
    def aligner(self) -> MakeAligner:
        return align_audio

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        return DESCRIPTORS

    @property
    def likeness(self) -> Likeness:
        return LIKENESS

    @property
    def cell_parts(self) -> MakeParts:
        return audio_parts

    def decoder(self, column: Column) -> str:
        return "polysense.modalities.audio.decoder.SoundDecoder"

    def backbones(self, cells: Sequence[object]) -> Backbones:
        return Backbones(known=_BACKBONES, kind="audio", files=_PROCESSORS)

    @property
    def pretrained(self) -> str:
        return "polysense.modalities.audio.encoders.pretrained.PretrainedAudio"

    @property
    def onnx(self) -> str:
        return "polysense.modalities.audio.encoders.onnx.OnnxAudio"


SPEC = AudioSpec()
