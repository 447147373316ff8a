"""Audio clips: faster, higher, in a room, louder or softer, in noise, later; in that order, as sounds come about.

A later start is silence put before the clip, never a roll: rolled speech ends with its own beginning, and a cut clip
has lost it. Noise comes at a drawn ratio to the clip's own power, from one table of 131,072 draws for each color that
each row enters at its own place: hashing a draw per sample would take ten times as long as all the rest. The power is
an integer sum, so it does not depend on how far the batch is padded; all else is sample by sample, or exact.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64, Int16, Int64
from torch import Tensor

from polysense.config.limits import Fraction, Limit
from polysense.core.batch import ColumnBatch
from polysense.core.random import fold, generator
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig, item_uniforms
from polysense.data.augmentation.warp import of_single_items
from polysense.data.batches.collate import round_up
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.audio.resample import shifted_pitch, speeded
from polysense.modalities.audio.room import response, reverberated

__all__ = ["AudioTransform", "AudioTransformConfig"]

_TABLE_SIZE = 2**17
_MULTIPLE = 400  # samples that a batch is padded to, see `AudioSpec`
_NUM_DRAWS = 13
_COLORS = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # how amplitudes fall with the frequency
_LOWEST = 20.0  # hertz, from which they do: below lies no sound, and brown noise has all its power there
_COLOR_UNIT = 4096  # of a table of integers whose standard deviation is that

Color: TypeAlias = Literal["white", "pink", "brown", "any"]


@dataclass(frozen=True, kw_only=True)
class AudioTransformConfig(TransformConfig):
    """Random speed, pitch, reverberation, gain, noise and time shift.

    Attributes:
        probability: Fraction of the clips that are augmented, from 0 to 1. SpecAugment masking is a setting of the
            encoder.
        speed: Make faster or slower by up to this fraction, pitch and all; 0.1 means from 1/1.1 to 1.1 (Ko et al.,
            "Audio augmentation for speech recognition", Interspeech 2015).
        pitch_semitones: Make higher or lower by up to so many semitones; the duration stays.
        reverb_probability: Put this fraction of the augmented clips into a room.
        reverb_seconds: The shortest and the longest time in which a room's reverberation falls by 60 dB.
        reverb_ratio_db: The lowest and the highest ratio of the direct sound to the reverberation, in decibels.
        gain_db: Make louder or softer by up to this many decibels.
        shift: Insert up to this many seconds of silence before the clip.
        noise_probability: Add noise to this fraction of the augmented clips.
        noise_snr_db: The lowest and the highest signal-to-noise ratio, in decibels.
        noise_color: white has the same power at all frequencies, pink and brown (3 and 6 dB less with each octave)
            sound as rooms, streets and engines do; any draws one of them for each clip.
    """

    type: Literal["audio"] = "audio"
    probability: Fraction = 1.0
    speed: Annotated[float, Limit(0, 1)] = 0.0
    pitch_semitones: Annotated[float, Limit(0, 12)] = 0.0
    reverb_probability: Fraction = 0.0
    reverb_seconds: tuple[float, float] = (0.1, 0.6)
    reverb_ratio_db: tuple[float, float] = (0.0, 15.0)
    gain_db: Annotated[float, Limit(0, 60)] = 6.0
    shift: Annotated[float, Limit(0, 60)] = 0.05
    noise_probability: Fraction = 0.5
    noise_snr_db: tuple[float, float] = (5.0, 30.0)
    noise_color: Color = "white"

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = ("noise_snr_db", -60, 120), ("reverb_seconds", 0.01, 10), ("reverb_ratio_db", -20, 60)
        for name, least, most in ranges:
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                expected = f"two numbers from {least} to {most}, the lower one first"
                raise ConfigError(f"{self.type}.{name} is {(low, high)!r}, expected {expected}")

    @property
    def moves(self) -> bool:
        """Silence in front of an audio clip makes it later, and speed draws it out."""
        return self.probability > 0 and (self.shift > 0 or self.speed > 0)

    @property
    def varies(self) -> bool:
        """Whether it does anything."""
        own = self.gain_db or self.shift or self.noise_probability
        return bool(self.probability and (own or self.speed or self.pitch_semitones or self.reverb_probability))

    @property
    def disturbs(self) -> Mapping[str, Mapping[str, object]]:
        """What labels and texts may speak of."""
        each: dict[str, dict[str, object]] = {
            "loud and quiet": {"gain_db": 0.0},
            "pitch": {"pitch_semitones": 0.0, "speed": 0.0},
            "fast and slow": {"speed": 0.0},
            "noise": {"noise_probability": 0.0},
            "echo": {"reverb_probability": 0.0},
        }
        used = {name: {key: no for key, no in keys.items() if getattr(self, key)} for name, keys in each.items()}
        return {name: keys for name, keys in used.items() if keys and self.probability}

    def build(self, column: Column) -> AudioTransform:
        """The transform for an audio column."""
        return AudioTransform(self, AudioColumn.of(column))


class AudioTransform(Transform):
    """See `AudioTransformConfig`."""

    def __init__(self, config: AudioTransformConfig, column: AudioColumn) -> None:
        self.config = config
        self._name = f"audio:{column.name}"
        self._rate = column.sample_rate
        self._max_shift = round(config.shift * column.sample_rate)

    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Varies the present audio clips, int16 [batch, items, samples]; encoders mask their spectrogram by `keys`."""
        config = self.config
        num_items = column.values.shape[1]
        values, lengths, moved = column.values, column.lengths, None
        if config.varies:
            draws = item_uniforms(_NUM_DRAWS, seed, epoch, rows, self._name, num_items).reshape(-1, _NUM_DRAWS)
            flat, flat_lengths, shift = self._vary(values.flatten(0, 1), lengths.flatten(), draws)
            values, lengths = flat.view(-1, num_items, flat.shape[1]), flat_lengths.view_as(lengths)
            if config.moves:
                moved = self._moved(draws[::num_items], shift.view_as(lengths), lengths)
        keys = torch.from_numpy(fold(seed, epoch, rows, self._name).view(np.int64)).to(values.device)
        return replace(column, values=values, lengths=lengths, keys=keys, geometry=moved)

    def _speeds(self, draws: np.ndarray) -> Float64[np.ndarray, " items"]:
        chosen = draws[:, 0] < self.config.probability
        return np.where(chosen, (1 + self.config.speed) ** (2 * draws[:, 6] - 1), 1.0)

    def _moved(self, draws: np.ndarray, later: Tensor, lengths: Tensor) -> Float[Tensor, "batch 3 3"]:
        """How each row's clip moved; NaN where a row's clips each moved in a way of its own."""
        moved = torch.eye(3, device=later.device).repeat(len(later), 1, 1)
        slower = torch.from_numpy((1 / self._speeds(draws)).astype(np.float32)).to(later.device)
        moved[:, 0, 0] = torch.where(lengths[:, 0] > 0, slower, 1.0)
        moved[:, 0, 2] = later[:, 0].float()
        return of_single_items(moved, lengths)

    def _vary(self, samples: Tensor, lengths: Tensor, draws: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Varies int16 [items, samples]; gives the same with new lengths, and how much later each begins."""
        config, device = self.config, samples.device
        augmented = draws[:, 0] < config.probability
        samples = samples * _inside(lengths, samples.shape[1])  # padding may hold anything, and counts in no sum below
        samples, lengths = self._distorted(samples, lengths, draws, augmented)
        present = lengths > 0
        inside = _inside(lengths, samples.shape[1])

        gain = np.where(augmented, 10 ** (config.gain_db * (2 * draws[:, 1] - 1) / 20), 1.0)
        mixed = samples.float().mul_(_column(gain, device))
        if config.noise_probability:
            noisy = augmented & (draws[:, 2] < config.noise_probability)
            low, high = config.noise_snr_db
            ratio = np.where(noisy, gain * 10 ** (-(low + (high - low) * draws[:, 3]) / 20), 0.0)
            scale = _root_mean_square(samples, lengths) * torch.from_numpy(ratio).to(device)
            start = torch.from_numpy((draws[:, 4] * _TABLE_SIZE).astype(np.int64)).to(device)
            self._add_noise(mixed, scale, start, draws[:, 12], inside, lengths)
        samples = mixed.round_().clamp_(-32768, 32767).to(torch.int16).mul_(inside)

        if not self._max_shift:
            return samples, lengths, torch.zeros_like(lengths)
        shift = np.where(augmented, np.floor(draws[:, 5] * (self._max_shift + 1)), 0).astype(np.int64)
        later = torch.from_numpy(shift).to(device) * present
        return _delay(samples, later, self._max_shift), lengths + later, later

    def _distorted(
        self, samples: Tensor, lengths: Tensor, draws: np.ndarray, augmented: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Clips at other speeds and pitches and in rooms; those that are not chosen stay bit for bit."""
        config, device = self.config, samples.device
        chosen = np.flatnonzero(augmented)
        if config.speed:
            longest = round_up(math.ceil(samples.shape[1] * (1 + config.speed)), _MULTIPLE)
            wide = samples.new_zeros(len(samples), longest)
            wide[:, : samples.shape[1]] = samples
            after = lengths.clone()
            if len(chosen):
                index = torch.from_numpy(chosen).to(device)
                factors = torch.from_numpy(self._speeds(draws)[chosen]).to(device)
                fastest = 1 + config.speed
                wide[index], after[index] = speeded(samples[index], lengths[index], factors, longest, fastest)
            samples, lengths = wide, after
        if config.pitch_semitones and len(chosen):
            index = torch.from_numpy(chosen).to(device)
            factors = torch.from_numpy(2 ** (config.pitch_semitones * (2 * draws[chosen, 7] - 1) / 12)).to(device)
            highest = 2 ** (config.pitch_semitones / 12)
            samples[index] = shifted_pitch(samples[index], lengths[index], factors, highest, self._rate)
        rooms = np.flatnonzero(augmented & (draws[:, 8] < config.reverb_probability))
        if len(rooms):
            index = torch.from_numpy(rooms).to(device)
            echoed = reverberated(samples[index], self._responses(draws[rooms]).to(device))
            samples[index] = echoed * _inside(lengths[index], samples.shape[1])
        return samples, lengths

    def _responses(self, draws: np.ndarray) -> Tensor:
        (short, long), (low, high) = self.config.reverb_seconds, self.config.reverb_ratio_db
        length = max(1, math.ceil(long * self._rate))
        each = [
            response(row[11], short * (long / short) ** row[9], low + (high - low) * row[10], self._rate, length)
            for row in draws
        ]
        return torch.from_numpy(np.stack(each))

    def _add_noise(
        self, mixed: Tensor, scale: Tensor, start: Tensor, colors: np.ndarray, inside: Tensor, lengths: Tensor
    ) -> None:
        """Adds noise to clips, scaled to these root mean squares."""
        names = tuple(_COLORS) if self.config.noise_color == "any" else (self.config.noise_color,)
        which = (colors * len(names)).astype(np.int64)
        for number, name in enumerate(names):
            part = (
                slice(None) if len(names) == 1 else torch.from_numpy(np.flatnonzero(which == number)).to(mixed.device)
            )
            length = mixed.shape[1]
            if name == "white":
                mixed[part] += _noise(start[part], length).mul_(scale[part].float()[:, None])
                continue
            # A short stretch of slow noise may be much softer or louder than the table is.
            noise = _colored_noise(start[part], length, name, self._rate).mul_(inside[part])
            level = _root_mean_square(noise, lengths[part]).clamp(min=1.0)
            mixed[part] += noise.float().mul_((scale[part] / level).float()[:, None])


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


@functools.cache
def _color_table(repeats: int, device: torch.device, color: str, rate: int) -> Int16[Tensor, " draws"]:
    """The table of draws of a color, whose ends meet, several times over."""
    white = np.fft.rfft(generator("noise table").standard_normal(_TABLE_SIZE, dtype=np.float32).astype(np.float64))
    hertz = np.maximum(np.fft.rfftfreq(_TABLE_SIZE, 1 / rate), _LOWEST)
    spectrum = white * hertz ** -_COLORS[color]
    spectrum[0] = 0.0
    colored = np.fft.irfft(spectrum, _TABLE_SIZE)
    levels = np.clip(np.rint(colored / colored.std() * _COLOR_UNIT), -32768, 32767)
    return torch.from_numpy(levels.astype(np.int16)).repeat(repeats).to(device)


def _colored_noise(
    start: Int64[Tensor, " items"], length: int, color: str, rate: int
) -> Int16[Tensor, "items samples"]:
    """As `_noise`, in integers whose standard deviation over the whole table is 4096."""
    return _color_table(1 + -(-length // _TABLE_SIZE), start.device, color, rate).unfold(0, length, 1)[start]
