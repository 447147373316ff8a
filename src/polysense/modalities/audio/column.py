"""Sound: decoded to int16 mono at one rate for the column. The log-mel spectrogram is the encoder's, on its device."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveFloat
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.cleaning import NUM_COUNTED
from polysense.data.column import NUM_SAMPLED, ColumnConfig, ColumnProcessor, TrainingCells, length_limit
from polysense.data.training_cells import cut_warning
from polysense.errors import ColumnError
from polysense.modalities.audio.cleaning import Recording
from polysense.modalities.audio.decode import audio_info, decode_audio
from polysense.modalities.audio.record import AudioColumn, AudioRequirements

__all__ = ["AudioColumnConfig", "AudioProcessor"]

_FEWEST_SECONDS = 30
_HIGHEST = 16_000  # speech and most audio clips keep their identity below 8 kHz; the cost grows with the rate


@dataclass(frozen=True, kw_only=True)
class AudioColumnConfig(ColumnConfig):
    """Audio: wav, flac, ogg, mp3, m4a, aac and more, any sample rate, any number of channels (averaged).

    Attributes:
        sample_rate: Samples per second to which every clip is resampled, or auto: the most common rate of the training
            clips, at most 16000.
        max_seconds: Longer clips are cut to so many seconds. auto is 4 times as long as 95% of the training clips are,
            and 30 at least, so that one long clip can't fill the memory; null cuts nothing.
    """

    modality: ClassVar[str] = "audio"
    type: Literal["audio"] = "audio"
    sample_rate: int | Literal["auto"] = "auto"
    max_seconds: PositiveFloat | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        if self.sample_rate != "auto" and not 1_000 <= self.sample_rate <= 192_000:
            raise ValueError("sample_rate: expected 1000 to 192000 samples per second, or auto")

    def build(self, name: str) -> AudioProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return AudioProcessor(name, self)


class AudioProcessor(ColumnProcessor):
    """Decodes and resamples audio clips; each item is int16 [samples].

    Attributes:
        max_samples: Where clips are cut; None: nowhere.
    """

    packages = ("soundfile", "soxr", "av")
    config: AudioColumnConfig
    max_samples: int | None

    @property
    def column(self) -> AudioColumn:
        """See `ColumnProcessor`."""
        return AudioColumn.of(super().column)

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> AudioColumn:
        requirements = AudioRequirements.of(requirements)
        infos = cells.read(self.name, "recordings", lambda cell, _: audio_info(cell, root), NUM_SAMPLED)
        requested, required = self.config.sample_rate, requirements.sample_rate
        if requested != "auto" and required is not None and requested != required:
            raise ColumnError(
                f"column {self.name!r}: sample_rate is {requested} in the recipe, but its pretrained encoder needs "
                f"{required}; set sample_rate: auto, or choose another encoder"
            )
        if requested != "auto":
            rate = requested
        elif required is not None:
            rate = required
        else:
            counts = Counter(info[0] for info in infos)
            rate = min(_HIGHEST, max(counts, key=lambda rate: (counts[rate], rate)))
        lengths = [frames * rate / source_rate for source_rate, frames, _ in infos]
        limit = self.config.max_seconds
        if limit == "auto":
            self.max_samples = length_limit(lengths, _FEWEST_SECONDS * rate)
        else:
            self.max_samples = None if limit is None else math.ceil(limit * rate)
        self.warnings = cut_warning(
            lengths, self.max_samples, "max_seconds", "seconds", rate, is_sample=len(cells.present) > NUM_SAMPLED
        )
        self.cleaner.count_media(
            lambda: cells.read(
                self.name,
                "recordings",
                lambda cell, _: Recording(decode_audio(cell, root, sample_rate=rate), rate),
                NUM_COUNTED,
                tell=False,
            )
        )
        typical = max(1, round(float(np.quantile(lengths, 0.95))))
        return AudioColumn(
            name=self.name,
            sample_rate=rate,
            typical_length=typical,
        )

    @property
    def _why_unwritten(self) -> str:
        return "audio is reconstructed as a spectrogram, which is not converted back into a waveform"

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray:
        rate = self.column.sample_rate
        samples: np.ndarray = self.cleaner.media(Recording(decode_audio(value, root, sample_rate=rate), rate)).samples
        if self.max_samples is not None and len(samples) > self.max_samples:
            seconds = self.max_samples / self.column.sample_rate
            self._cut(f"max_seconds={seconds:g}", self.config.max_seconds == "auto")
            samples = samples[: self.max_samples].copy()
        return samples

    def _state(self, folder: Path) -> dict[str, Any]:
        return {"max_samples": self.max_samples}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        self.max_samples = state["max_samples"]
