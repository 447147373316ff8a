"""Spectrograms by numpy, a clip at a time, for the features that are statistics over a clip's own frames.

They are those of `nn.layers.spectrogram`: 25 ms windows every 10 ms, the same windows and mel filters. No matrix
product is asked of a threaded library: a clip's numbers are the same in every process, whatever threads it has.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

__all__ = ["QUANTILES", "Spectra", "log_mel", "mel_filters", "over_time", "spectra"]

QUANTILES = (0.1, 0.5, 0.9)

_FLOOR = 1e-10 * 2.0**30  # the least power of a band; full scale is 32768
_FRAMES_AT_ONCE = 1024  # a long clip's windows are 13 times as large as itself
_RANGE = 8.0  # powers of ten below the loudest band, which is 80 dB


@dataclass(frozen=True)
class Spectra:
    """A clip cut into windows.

    Attributes:
        power: float32 [frames, bins].
        sample_rate: Samples per second of the clip.
    """

    power: np.ndarray
    sample_rate: int


def spectra(samples: np.ndarray, sample_rate: int) -> Spectra:
    """The power spectra around every hundredth of a second; zeros lie beyond the clip's ends.

    Args:
        samples: int16 [samples], at least one.
        sample_rate: Samples per second.
    """
    return _spectra(samples.tobytes(), sample_rate)


@functools.lru_cache(maxsize=1)
def _spectra(samples: bytes, sample_rate: int) -> Spectra:
    """As `spectra`. All features of one clip are made one after another, so the last one is kept."""
    hop = max(sample_rate // 100, 1)
    window, fft_size = _window(sample_rate)
    waveform = np.frombuffer(samples, dtype=np.int16)
    num_frames = math.ceil(len(waveform) / hop)
    padded = np.zeros((num_frames - 1) * hop + fft_size, dtype=np.float32)
    padded[fft_size // 2 :][: len(waveform)] = waveform
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_size)[::hop]
    power = np.empty((num_frames, fft_size // 2 + 1), dtype=np.float32)
    for start in range(0, num_frames, _FRAMES_AT_ONCE):
        part = np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window, axis=1)
        power[start : start + _FRAMES_AT_ONCE] = part.real**2 + part.imag**2
    return Spectra(power, sample_rate)


@functools.lru_cache(maxsize=4)
def _window(sample_rate: int) -> tuple[np.ndarray, int]:
    """A Hann window, float32, in the middle of a Fourier transform's length, and that length."""
    size = max(sample_rate // 40, 2)
    fft_size = int(2 ** math.ceil(math.log2(size)))
    window = np.zeros(fft_size, dtype=np.float32)
    left = (fft_size - size) // 2
    window[left : left + size] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return window, fft_size


@functools.lru_cache(maxsize=8)
def mel_filters(num_bins: int, num_mels: int, sample_rate: int) -> np.ndarray:
    """Triangular filters on the HTK mel scale, float64 [mels, bins]; see `nn.layers.spectrogram.mel_filters`."""
    points = np.linspace(0.0, 2595.0 * math.log10(1.0 + sample_rate / 1400.0), num_mels + 2)
    centers = 700.0 * (10.0 ** (points / 2595.0) - 1.0)
    bins = np.linspace(0.0, sample_rate / 2, num_bins)
    rising = (bins - centers[:-2, None]) / (centers[1:-1] - centers[:-2])[:, None]
    falling = (centers[2:, None] - bins) / (centers[2:] - centers[1:-1])[:, None]
    return np.asarray(np.maximum(np.minimum(rising, falling), 0.0))


def log_mel(spectra: Spectra, num_mels: int) -> np.ndarray:
    """The powers in mel bands as powers of ten, float64 [frames, mels], 80 dB below the loudest one at least."""
    from scipy.sparse import csr_array

    filters = csr_array(mel_filters(spectra.power.shape[1], num_mels, spectra.sample_rate))
    power = (filters @ np.ascontiguousarray(spectra.power.T, dtype=np.float64)).T
    log = np.log10(np.maximum(power, _FLOOR))
    return np.asarray(np.maximum(log, log.max() - _RANGE))


def over_time(values: np.ndarray, *, deltas: bool = True) -> np.ndarray:
    """Statistics over frames.

    Args:
        values: [frames, numbers].
        deltas: Whether also of the changes from one frame to the next.

    Returns:
        [statistics * numbers]: mean, deviation and the quantiles 0.1, 0.5 and 0.9; of the changes the mean size and
        the deviation, 0 for a clip of one frame.
    """
    ordered = np.sort(values, axis=0)
    picked = [ordered[int(share * (len(ordered) - 1) + 0.5)] for share in QUANTILES]
    parts = [values.mean(axis=0), values.std(axis=0), *picked]
    if deltas:
        changes = np.diff(values, axis=0) if len(values) > 1 else np.zeros_like(values)
        parts += [np.abs(changes).mean(axis=0), changes.std(axis=0)]
    return np.concatenate(parts)
