"""Cleanings of recordings: constant offset, silence at the ends, loudness, steady noise.

A recording is its samples at the column's rate, before it is cut to the longest length. Each cleaning is a function of
the recording alone, computed in double precision and rounded to 16 bits, so it is the same in every process.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from polysense.config.limits import Limit, PositiveFloat
from polysense.data.cleaning import CleaningConfig, MediaCleaning

__all__ = ["DcOffsetConfig", "DenoiseConfig", "LoudnessConfig", "Recording", "TrimSilenceConfig", "integrated_loudness"]

_FULL = 32768.0  # of 16-bit samples
_FRAME = 0.02  # seconds, whose power tells silence
_BLOCK, _STEP = 0.4, 0.1  # seconds of a block of loudness and between two, EBU Tech 3341
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0  # LUFS, LU
_PEAK = 10 ** (-1 / 20)  # of the loudest sample, EBU R128's -1 dB


class Recording(NamedTuple):
    """A decoded recording: int16 [samples], and samples per second."""

    samples: np.ndarray
    rate: int


@dataclass(frozen=True, kw_only=True)
class AudioCleaningConfig(CleaningConfig):
    """A cleaning of recordings."""

    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})


@dataclass(frozen=True, kw_only=True)
class DcOffsetConfig(AudioCleaningConfig):
    """Takes away the mean of a recording's samples, which is no sound."""

    type: Literal["dc_offset"] = "dc_offset"


@dataclass(frozen=True, kw_only=True)
class TrimSilenceConfig(AudioCleaningConfig):
    """Cuts silence off at both ends; silence between sounds stays.

    A recording of silence alone stays as it is. No target may lie in the column, since its places would shift.

    Attributes:
        below: Decibels below the loudest 20 ms, from which on a stretch is silent.
        margin: Seconds of silence that are kept at each end.
    """

    moves: ClassVar[bool] = True
    type: Literal["trim_silence"] = "trim_silence"
    below: Annotated[float, Limit(5, 120)] = 40.0
    margin: Annotated[float, Limit(0, 10)] = 0.05


@dataclass(frozen=True, kw_only=True)
class LoudnessConfig(AudioCleaningConfig):
    """Brings recordings to one loudness (EBU R128), as far as no sample exceeds -1 dB of the full scale.

    Attributes:
        target: Loudness in LUFS.
    """

    type: Literal["loudness"] = "loudness"
    target: Annotated[float, Limit(-60, 0)] = -23.0


@dataclass(frozen=True, kw_only=True)
class DenoiseConfig(AudioCleaningConfig):
    """Turns steady noise down by spectral gating: what is hardly louder than a band's own quiet moments.

    The quiet moments of a band are a tenth of the recording. Speech in a room is cleaner for it; music and sounds that
    are steady themselves lose what they are.

    Attributes:
        reduction: Decibels by which noise is turned down at most.
        threshold: Decibels above a band's quiet moments up to which all is noise. Of white noise 98% is within 16 dB
            of its quietest tenth.
    """

    type: Literal["denoise"] = "denoise"
    reduction: PositiveFloat = 12.0
    threshold: PositiveFloat = 16.0


class AudioCleaning(MediaCleaning):
    """Changes recordings."""

    def clean(self, value: object) -> object:
        """See `Cleaning`."""
        if not isinstance(value, Recording) or not len(value.samples) or not value.samples.any():
            return value
        cleaned = self.cleaned(value.samples.astype(np.float64) / _FULL, value.rate)
        samples = np.clip(np.rint(cleaned * _FULL), -_FULL, _FULL - 1).astype(np.int16)
        return value if np.array_equal(samples, value.samples) else Recording(samples, value.rate)

    @abstractmethod
    def cleaned(self, samples: Float64[np.ndarray, " samples"], rate: int) -> Float64[np.ndarray, " cleaned"]:
        """Samples in [-1, 1), not all 0, as they should have been; at least one."""


class DcOffset(AudioCleaning, config=DcOffsetConfig):
    """See `DcOffsetConfig`."""

    def cleaned(self, samples: Float64[np.ndarray, " samples"], rate: int) -> Float64[np.ndarray, " cleaned"]:
        """See `AudioCleaning`."""
        del rate
        return np.asarray(samples - samples.mean())


class TrimSilence(AudioCleaning, config=TrimSilenceConfig):
    """See `TrimSilenceConfig`."""

    def __init__(self, config: TrimSilenceConfig) -> None:
        super().__init__(config)
        self._share, self._margin = 10 ** (-config.below / 10), config.margin

    def cleaned(self, samples: Float64[np.ndarray, " samples"], rate: int) -> Float64[np.ndarray, " cleaned"]:
        """See `AudioCleaning`."""
        size = max(1, round(_FRAME * rate))
        starts = np.arange(0, len(samples), size)
        power = np.add.reduceat(samples**2, starts) / np.diff(np.append(starts, len(samples)))
        loud = np.flatnonzero(power >= self._share * power.max())
        margin = round(self._margin * rate)
        start = max(0, int(starts[loud[0]]) - margin)
        end = min(len(samples), int(starts[loud[-1]]) + size + margin)
        return samples[start:end]


class Loudness(AudioCleaning, config=LoudnessConfig):
    """See `LoudnessConfig`."""

    def __init__(self, config: LoudnessConfig) -> None:
        super().__init__(config)
        self._target = config.target

    def cleaned(self, samples: Float64[np.ndarray, " samples"], rate: int) -> Float64[np.ndarray, " cleaned"]:
        """See `AudioCleaning`."""
        loudness = integrated_loudness(samples, rate)
        if not math.isfinite(loudness):
            return samples
        gain = 10 ** ((self._target - loudness) / 20)
        return samples * min(gain, max(1e-12, _PEAK / float(np.abs(samples).max())))


class Denoise(AudioCleaning, config=DenoiseConfig):
    """See `DenoiseConfig`."""

    def __init__(self, config: DenoiseConfig) -> None:
        super().__init__(config)
        self._floor, self._threshold = 10 ** (-config.reduction / 20), 10 ** (config.threshold / 20)

    def cleaned(self, samples: Float64[np.ndarray, " samples"], rate: int) -> Float64[np.ndarray, " cleaned"]:
        """See `AudioCleaning`."""
        from scipy.ndimage import uniform_filter
        from scipy.signal import istft, stft

        size = 2 ** max(6, round(math.log2(0.032 * rate)))
        if len(samples) < 4 * size:
            return samples
        _, _, spectrum = stft(samples, rate, nperseg=size)
        magnitude = np.abs(spectrum)
        noise = np.quantile(magnitude, 0.1, axis=1, keepdims=True)
        is_sound = (magnitude > self._threshold * noise).astype(np.float64)
        gain = self._floor + (1 - self._floor) * uniform_filter(is_sound, size=(3, 3))
        _, cleaned = istft(spectrum * gain, rate, nperseg=size)
        return np.asarray(cleaned[: len(samples)], dtype=np.float64)


def integrated_loudness(samples: Float64[np.ndarray, " samples"], rate: int) -> float:
    """The loudness of a mono recording in LUFS; minus infinity of one that no gate lets through.

    ITU-R BS.1770-4: the K filter (its two stages for any rate by the bilinear transform of their analog prototypes),
    mean squares of blocks of 400 ms every 100 ms, gated at -70 LUFS and at 10 LU below the mean. Of a shorter recording
    the whole is one block.

    Args:
        samples: In [-1, 1).
        rate: Samples per second.
    """
    from scipy.signal import lfilter

    weighted = samples
    for numerator, denominator in (_shelf(rate), _high_pass(rate)):
        weighted = lfilter(numerator, denominator, weighted)
    size, step = round(_BLOCK * rate), max(1, round(_STEP * rate))
    sums = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, max(1, len(samples) - size + 1), step)
    ends = np.minimum(starts + size, len(samples))
    power = (sums[ends] - sums[starts]) / (ends - starts)
    power = power[power > 10 ** ((_ABSOLUTE_GATE + 0.691) / 10)]
    if not len(power):
        return -math.inf
    power = power[power > power.mean() * 10 ** (_RELATIVE_GATE / 10)]
    return float(-0.691 + 10 * math.log10(power.mean()))


def _shelf(rate: int) -> tuple[list[float], list[float]]:
    """The high shelf of about 4 dB, of the head; ITU-R BS.1770-4, stage 1."""
    k = math.tan(math.pi * min(1681.974450955533, 0.45 * rate) / rate)
    quality, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    scale = 1 + k / quality + k * k
    numerator = [(high + band * k / quality + k * k), 2 * (k * k - high), (high - band * k / quality + k * k)]
    return [each / scale for each in numerator], [1.0, 2 * (k * k - 1) / scale, (1 - k / quality + k * k) / scale]


def _high_pass(rate: int) -> tuple[list[float], list[float]]:
    """The high pass at 38 Hz; ITU-R BS.1770-4, stage 2."""
    k, quality = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    scale = 1 + k / quality + k * k
    return [1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / scale, (1 - k / quality + k * k) / scale]
