"""What a column's items look like to a person: small pictures as JPEG, sound as something to see and to hear.

Made of preprocessed items, so that one sees what the model sees: the frames that were taken of a video, a picture at
the column's size, sound as one channel. A few kilobytes each, because they are written into pages.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import soundfile
from jaxtyping import Float32, Int16, Shaped, UInt8
from PIL import Image

__all__ = ["as_jpeg", "as_playable", "log_mel_picture", "spectrogram_picture", "strip", "thumbnail"]

_SIDE = 128  # pixels of a thumbnail at most
_MOST_SECONDS = 20.0  # of sound that is embedded: 80 KB as MP3
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_BLOCK = 4_096  # samples: libsndfile's encoders of some versions crash on long ones
_WINDOW = 256  # samples of a spectrum: 16 ms at 16 kHz
_DECIBELS = 80.0  # between the darkest and the lightest


def thumbnail(
    pixels: UInt8[np.ndarray, "channels height width"], side: int = _SIDE
) -> UInt8[np.ndarray, "small_height small_width 3"]:
    """A picture, shrunk if it is larger than `side`, in RGB."""
    picture = Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.array(picture.convert("RGB"))


def strip(pictures: list[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures side by side, on grey."""
    height, width = max(p.shape[0] for p in pictures), sum(p.shape[1] + 2 for p in pictures)
    canvas = np.full((height, width, 3), 128, dtype=np.uint8)
    left = 0
    for picture in pictures:
        canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + 2
    return canvas


def as_jpeg(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """The picture's JPEG file."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=82)
    return file.getvalue()


def spectrogram_picture(
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
    return _coloured(np.clip((loudness - loudness.max() + _DECIBELS) / _DECIBELS, 0.0, 1.0).T, width, height)


def log_mel_picture(
    values: Float32[np.ndarray, "bands frames"], width: int = 320, height: int = 72
) -> UInt8[np.ndarray, "height width 3"]:
    """A standardised log-mel spectrogram, from two deviations below its mean to three above, low bands at the foot."""
    return _coloured(np.clip((values + 2.0) / 5.0, 0.0, 1.0), width, height)


def _coloured(
    shares: Shaped[np.ndarray, "bands frames"], width: int, height: int
) -> UInt8[np.ndarray, "height width 3"]:
    shares = shares[::-1]
    grey = Image.fromarray((shares * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    share = np.asarray(grey, dtype=np.float32)[..., None] / 255.0
    dark, middle, light = (np.array(c, dtype=np.float32) for c in ((18, 24, 38), (31, 95, 168), (255, 236, 179)))
    coloured = np.where(share < 0.5, dark + (middle - dark) * 2 * share, middle + (light - middle) * (2 * share - 1))
    return coloured.astype(np.uint8)


def as_playable(samples: Int16[np.ndarray, " samples"], sample_rate: int) -> tuple[bytes, str] | None:
    """A file that browsers play, and its media type; None if it would be large."""
    if not len(samples) or len(samples) > _MOST_SECONDS * sample_rate:
        return None
    file = BytesIO()
    is_mp3 = sample_rate in _MP3_RATES and "MP3" in soundfile.available_formats()
    kind = {"format": "MP3", "subtype": "MPEG_LAYER_III"} if is_mp3 else {"format": "WAV", "subtype": "PCM_16"}
    with soundfile.SoundFile(file, "w", sample_rate, 1, **kind) as out:
        for start in range(0, len(samples), _BLOCK):
            out.write(samples[start : start + _BLOCK])
    return file.getvalue(), "audio/mpeg" if is_mp3 else "audio/wav"
