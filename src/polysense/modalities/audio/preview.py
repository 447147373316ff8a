"""Audio as a person sees and hears it: a spectrogram, and a file that browsers play.

Made of preprocessed items, so that one sees what the model gets. A few kilobytes each, because they are written into
pages.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import soundfile
from jaxtyping import Float32, Int16, Shaped, UInt8
from PIL import Image

__all__ = ["as_playable", "log_mel_image", "spectrogram_image"]

_MAX_SECONDS = 20.0  # of audio that is embedded: 80 KB as MP3
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_BLOCK = 4_096  # samples: libsndfile's encoders of some versions crash on long ones
_WINDOW = 256  # samples of a spectrum: 16 ms at 16 kHz
_DECIBELS = 80.0  # between the darkest and the lightest


def spectrogram_image(
    samples: Int16[np.ndarray, " samples"], width: int = 320, height: int = 72
) -> UInt8[np.ndarray, "height width 3"]:
    """Loudness by time (left to right) and frequency (upwards, from 0 to half the sample rate), over 80 decibels."""
    values = samples.astype(np.float32) / 32768.0
    if len(values) < _WINDOW:
        values = np.pad(values, (0, _WINDOW - len(values)))
    num = min(4 * width, max(2, 2 * len(values) // _WINDOW))
    starts = np.linspace(0, len(values) - _WINDOW, num).astype(np.int64)
    windows = values[starts[:, None] + np.arange(_WINDOW)] * np.hanning(_WINDOW).astype(np.float32)
    loudness = 20.0 * np.log10(np.abs(np.fft.rfft(windows, axis=1)) + 1e-6)
    return _colored(np.clip((loudness - loudness.max() + _DECIBELS) / _DECIBELS, 0.0, 1.0).T, width, height)


def log_mel_image(
    values: Float32[np.ndarray, "bands frames"], width: int = 320, height: int = 72
) -> UInt8[np.ndarray, "height width 3"]:
    """A standardized log-mel spectrogram, from two deviations below its mean to three above, low bands at the foot."""
    return _colored(np.clip((values + 2.0) / 5.0, 0.0, 1.0), width, height)


def _colored(
    shares: Shaped[np.ndarray, "bands frames"], width: int, height: int
) -> UInt8[np.ndarray, "height width 3"]:
    shares = shares[::-1]
    gray = Image.fromarray((shares * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    share = np.asarray(gray, dtype=np.float32)[..., None] / 255.0
    dark, middle, light = (np.array(c, dtype=np.float32) for c in ((18, 24, 38), (31, 95, 168), (255, 236, 179)))
    colored = np.where(share < 0.5, dark + (middle - dark) * 2 * share, middle + (light - middle) * (2 * share - 1))
    return colored.astype(np.uint8)


def as_playable(samples: Int16[np.ndarray, " samples"], sample_rate: int) -> tuple[bytes, str] | None:
    """A file that browsers play, and its media type; None if it would be large."""
    if not len(samples) or len(samples) > _MAX_SECONDS * sample_rate:
        return None
    file = BytesIO()
    is_mp3 = sample_rate in _MP3_RATES and "MP3" in soundfile.available_formats()
    kind = {"format": "MP3", "subtype": "MPEG_LAYER_III"} if is_mp3 else {"format": "WAV", "subtype": "PCM_16"}
    with soundfile.SoundFile(file, "w", sample_rate, 1, **kind) as out:
        for start in range(0, len(samples), _BLOCK):
            out.write(samples[start : start + _BLOCK])
    return file.getvalue(), "audio/mpeg" if is_mp3 else "audio/wav"
