"""Features that a practitioner writes down from memory: a fixed vector of a picture, a clip or a series.

Nothing is fitted and no weights are needed. Texts, categories, numbers and dates are left to scikit-learn.
"""

from __future__ import annotations

import numpy as np

__all__ = ["audio_features", "date_features", "image_features", "read_audio", "series_features"]

_RATE = 16000
_BANDS = 40


def image_features(path: str) -> np.ndarray:
    """16 x 16 pixels, a histogram of 64 colors, and gradients by 9 directions in 8 x 8 cells; float32 [2596]."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
    thumbnail = np.asarray(small.resize((16, 16)), dtype=np.float32) / 255
    pixels = np.asarray(small.resize((64, 64)))
    colors = np.bincount((pixels // 64 @ np.array([16, 4, 1])).ravel(), minlength=64) / 64**2
    vertical, horizontal = np.gradient(pixels.astype(np.float32).mean(axis=2) / 255)
    direction = ((np.arctan2(vertical, horizontal) % np.pi) / np.pi * 9).astype(int).clip(0, 8)
    cell = (np.arange(64) // 8)[:, None] * 8 + np.arange(64) // 8
    gradients = np.bincount(
        (cell * 9 + direction).ravel(), weights=np.hypot(vertical, horizontal).ravel(), minlength=8 * 8 * 9
    ).reshape(8, 8, 9)
    blocks = np.concatenate([gradients[:-1, :-1], gradients[1:, :-1], gradients[:-1, 1:], gradients[1:, 1:]], axis=2)
    blocks = blocks / (np.linalg.norm(blocks, axis=2, keepdims=True) + 0.1)
    return np.concatenate([thumbnail.ravel(), np.sqrt(colors), blocks.ravel()]).astype(np.float32)


def read_audio(path: str) -> np.ndarray:
    """One channel at 16 kHz; float32 [samples]."""
    import soundfile
    import soxr

    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(wave.mean(axis=1), rate, _RATE), dtype=np.float32)


def audio_features(path: str) -> np.ndarray:
    """Statistics of 40 log-mel bands, their changes and 13 MFCCs, and 16 steps of 20 bands; float32 [626]."""
    from scipy.fft import dct

    wave = read_audio(path)
    window, hop = 512, 160
    wave = np.pad(wave, (0, max(0, window + 2 * hop - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop] * np.hanning(window)
    mel = np.log(np.abs(np.fft.rfft(frames)) ** 2 @ _mel_bank(window) + 1e-6)
    change = np.diff(mel, axis=0)
    cepstrum = dct(mel, axis=1, norm="ortho")[:, :13]
    statistics = [
        mel.mean(0),
        mel.std(0),
        *np.quantile(mel, [0.1, 0.5, 0.9], axis=0),
        change.std(0),
        abs(change).mean(0),
    ]
    at = np.linspace(0, len(mel) - 1, 16).round().astype(int)
    # How loud a clip was recorded says little of what is in it.
    steps = mel.reshape(len(mel), 20, 2).mean(axis=2)[at] - mel.mean()
    return np.concatenate([*statistics, cepstrum.mean(0), cepstrum.std(0), steps.ravel()], dtype=np.float32)


def _mel_bank(window: int) -> np.ndarray:
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + _RATE / 2 / 700), _BANDS + 2) / 2595) - 1)
    bins = np.linspace(0, _RATE / 2, window // 2 + 1)[:, None]
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    return np.minimum((bins - low) / (center - low), (high - bins) / (high - center)).clip(min=0)


def series_features(path: str) -> np.ndarray:
    """Of every channel but the time 50 steps, mean, deviation, extremes and 10 amplitudes; float32 [64 x channels]."""
    import polars as pl

    frame = pl.read_csv(path)
    values = frame.select(name for name in frame.columns if name != "t").to_numpy().astype(np.float64)
    at = np.linspace(0, len(values) - 1, 50)
    parts = []
    for channel in values.T:
        steps = np.interp(at, np.arange(len(channel)), channel)
        statistics = [channel.mean(), channel.std(), channel.min(), channel.max()]
        parts.append(np.concatenate([steps, statistics, np.abs(np.fft.rfft(steps))[1:11]]))
    return np.concatenate(parts, dtype=np.float32)


def date_features(date: str) -> np.ndarray:
    """The year, the month, the day of the month, of the week and of the year; float32 [5]."""
    from datetime import date as calendar

    day = calendar.fromisoformat(date[:10])
    return np.array([day.year, day.month, day.day, day.weekday(), day.timetuple().tm_yday], dtype=np.float32)
