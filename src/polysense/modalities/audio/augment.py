"""Audio clips: louder or softer, later, in noise.

A later start is silence put before the clip, never a roll: rolled speech ends with its own beginning, and a cut clip
has lost it. Noise is white and comes at a drawn ratio to the clip's own power, from one table of 131,072 normal draws
that each row enters at its own place: hashing a draw per sample would take ten times as long as all the rest. The
power is an integer sum, so it does not depend on how far the batch is padded; all else is sample by sample.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int16, Int64
from torch import Tensor

from polysense.config.limits import Fraction, Limit
from polysense.core.batch import ColumnBatch
from polysense.core.random import fold, generator
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig, item_uniforms
from polysense.data.augmentation.warp import shifted
from polysense.data.batches.collate import round_up
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn

__all__ = ["AudioTransform", "AudioTransformConfig"]

_TABLE_SIZE = 2**17
_MULTIPLE = 400  # samples that a batch is padded to, see `AudioSpec`


@dataclass(frozen=True, kw_only=True)
class AudioTransformConfig(TransformConfig):
    """Random gain, time shift and noise.

    Attributes:
        probability: Fraction of the clips that are augmented, from 0 to 1. SpecAugment masking is a setting of the
            encoder.
        gain_db: Make louder or softer by up to this many decibels.
        shift: Insert up to this many seconds of silence before the clip.
        noise_probability: Add white noise to this fraction of the augmented clips.
        noise_snr_db: The lowest and the highest signal-to-noise ratio, in decibels.
    """

    type: Literal["audio"] = "audio"
    probability: Fraction = 1.0
    gain_db: Annotated[float, Limit(0, 60)] = 6.0
    shift: Annotated[float, Limit(0, 60)] = 0.05
    noise_probability: Fraction = 0.5
    noise_snr_db: tuple[float, float] = (5.0, 30.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.noise_snr_db
        if not -60 <= low <= high <= 120:
            expected = "two numbers from -60 to 120, the lower one first"
            raise ConfigError(f"{self.type}.noise_snr_db is {self.noise_snr_db!r}, expected {expected}")

    @property
    def moves(self) -> bool:
        """Silence in front of an audio clip makes it later."""
        return self.probability > 0 and self.shift > 0

    def build(self, column: Column) -> AudioTransform:
        """The transform for an audio column."""
        return AudioTransform(self, AudioColumn.of(column))


class AudioTransform(Transform):
    """See `AudioTransformConfig`."""

    def __init__(self, config: AudioTransformConfig, column: AudioColumn) -> None:
        self.config = config
        self._name = f"audio:{column.name}"
        self._max_shift = round(config.shift * column.sample_rate)

    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Varies the present audio clips, int16 [batch, items, samples]; encoders mask their spectrogram by `keys`."""
        config = self.config
        num_items = column.values.shape[1]
        values, lengths, moved = column.values, column.lengths, None
        if config.probability > 0 and (config.gain_db or config.shift or config.noise_probability):
            draws = item_uniforms(6, seed, epoch, rows, self._name, num_items).reshape(-1, 6)
            flat, flat_lengths = self._vary(values.flatten(0, 1), lengths.flatten(), draws)
            values, lengths = flat.view(-1, num_items, flat.shape[1]), flat_lengths.view_as(lengths)
            if self._max_shift:
                moved = shifted(lengths - column.lengths, lengths)
        keys = torch.from_numpy(fold(seed, epoch, rows, self._name).view(np.int64)).to(values.device)
        return replace(column, values=values, lengths=lengths, keys=keys, geometry=moved)

    def _vary(self, samples: Tensor, lengths: Tensor, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        """Varies int16 [items, samples]; gives the same with new lengths."""
        config, device = self.config, samples.device
        augmented = draws[:, 0] < config.probability
        present = lengths > 0
        inside = _inside(lengths, samples.shape[1])
        samples = samples * inside  # padding may hold anything, and counts in no sum below

        gain = np.where(augmented, 10 ** (config.gain_db * (2 * draws[:, 1] - 1) / 20), 1.0)
        mixed = samples.float().mul_(_column(gain, device))
        if config.noise_probability:
            noisy = augmented & (draws[:, 2] < config.noise_probability)
            low, high = config.noise_snr_db
            ratio = np.where(noisy, gain * 10 ** (-(low + (high - low) * draws[:, 3]) / 20), 0.0)
            scale = _root_mean_square(samples, lengths) * torch.from_numpy(ratio).to(device)
            start = torch.from_numpy((draws[:, 4] * _TABLE_SIZE).astype(np.int64)).to(device)
            noise = _noise(start, samples.shape[1]).mul_(scale.float()[:, None])
            mixed.add_(noise)
        samples = mixed.round_().clamp_(-32768, 32767).to(torch.int16).mul_(inside)

        if not self._max_shift:
            return samples, lengths
        shift = np.where(augmented, np.floor(draws[:, 5] * (self._max_shift + 1)), 0).astype(np.int64)
        later = torch.from_numpy(shift).to(device) * present
        return _delay(samples, later, self._max_shift), lengths + later


def _column(values: np.ndarray, device: torch.device) -> Float[Tensor, "items 1"]:
    return torch.from_numpy(values.astype(np.float32)).to(device)[:, None]


# Three times below, rows of one long vector are read from a different place each (`unfold`, then an index): one copy,
# where comparing or gathering position by position takes two to eight times as long.


def _inside(lengths: Tensor, length: int) -> Int16[Tensor, "items samples"]:
    """1 before each item's length, 0 from it on."""
    steps = torch.zeros(2 * length, dtype=torch.int16, device=lengths.device)
    steps[:length] = 1
    return steps.unfold(0, length, 1)[length - lengths]


def _root_mean_square(samples: Tensor, lengths: Tensor) -> Float64[Tensor, " items"]:
    """Of int16 [items, samples] that are 0 from `lengths` on.

    Neither order nor padding changes a bit: a square is at most 2^30, so up to 2^23 of them (17 minutes at 8 kHz) sum
    up exactly in a float64, and more of them in an int64, which takes five times as long.
    """
    exact = torch.float64 if samples.shape[1] <= 2**23 else torch.int64
    total = samples.to(exact).square_().sum(dim=1)
    return (total.double() / lengths.clamp(min=1)).sqrt()


def _delay(samples: Tensor, later: Tensor, most: int) -> Int16[Tensor, "items longer"]:
    """int16 [items, samples], each item after `later` zeros, at most `most`; nothing is cut."""
    num, length = samples.shape
    longer = round_up(length + most, _MULTIPLE)
    padded = samples.new_zeros(num, most + longer)
    padded[:, most : most + length] = samples
    start = torch.arange(num, device=samples.device) * padded.shape[1] + most - later
    return padded.flatten().unfold(0, longer, 1)[start]


@functools.cache
def _table(repeats: int, device: torch.device) -> Float[Tensor, " draws"]:
    """The table of normal draws, several times over."""
    draws = generator("noise table").standard_normal(_TABLE_SIZE, dtype=np.float32)
    return torch.from_numpy(draws).repeat(repeats).to(device)


def _noise(start: Int64[Tensor, " items"], length: int) -> Float[Tensor, "items samples"]:
    """For each item `length` normal draws of the table, from its own start on, around the end."""
    return _table(1 + -(-length // _TABLE_SIZE), start.device).unfold(0, length, 1)[start]
