"""Spoils images and audio clips, by amounts stated in pixels, gray levels and decibels.

The idea: each modality alone shall leave a third of the digits in doubt, and for reasons that have nothing to do with
each other, because only then is there anything for fusion to gain. A clean image is read 98% of the time and clean
speech 97%, which no second modality can better.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

__all__ = ["degrade_image", "degrade_speech"]


def degrade_image(
    image: np.ndarray,
    draws: np.random.Generator,
    *,
    size: int = 28,
    blur: float = 1.0,
    erase: tuple[int, int] = (15, 18),
    noise: float = 70.0,
) -> np.ndarray:
    """Enlarges an image, blurs it, erases a square of it and adds noise.

    Args:
        image: uint8 [8, 8] of 0-16.
        draws: Where and how much.
        size: Pixels a side of the result.
        blur: Standard deviation, pixels of the result.
        erase: The least and the greatest side of the erased square, pixels of the result.
        noise: Standard deviation of the white noise, gray levels of 255.

    Returns:
        uint8 [size, size].
    """
    ink = Image.fromarray((image.astype(np.uint16) * 255 // 16).astype(np.uint8))
    ink = ink.resize((size, size), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(blur))
    gray = np.asarray(ink, dtype=np.float64).copy()
    side = int(draws.integers(erase[0], erase[1] + 1))
    top, left = draws.integers(0, size - side + 1, 2)
    gray[top : top + side, left : left + side] = 0.0
    gray += draws.normal(0.0, noise, gray.shape)
    result: np.ndarray = np.rint(gray.clip(0, 255)).astype(np.uint8)
    return result


def degrade_speech(
    wave: np.ndarray,
    draws: np.random.Generator,
    *,
    snr: tuple[float, float] = (-8.0, 2.0),
    pad: tuple[int, int] = (400, 1200),
    gain: tuple[float, float] = (-12.0, 0.0),
) -> np.ndarray:
    """Puts an audio clip somewhere in a longer stretch of noise.

    The noise's spectrum falls by 0 to 6 dB an octave, another slope each time, so that it lies over the vowels as well
    as over the consonants (white noise hides the consonants alone, and vowels are enough to tell most digits).

    Args:
        wave: int16 [samples].
        draws: Where and how much.
        snr: The least and the greatest ratio of the speech's power to the noise's, dB.
        pad: The least and the greatest number of samples of noise before the speech, and after it.
        gain: The least and the greatest peak of the result, dB of full scale.

    Returns:
        int16 [samples + two paddings].
    """
    before, after = draws.integers(pad[0], pad[1] + 1, 2)
    speech = wave / np.sqrt(np.mean(np.square(wave, dtype=np.float64)))
    num = before + len(wave) + after
    # Drawn at a power of two and cut: a transform of a prime length takes ten times as long.
    spectrum = np.fft.rfft(draws.normal(size=1 << (int(num) - 1).bit_length()))
    # An amplitude that falls with f^-slope: slope 0 is white, 1 falls by 6 dB an octave. The lowest bins would take all
    # of the power; below about 100 Hz there is no speech, so the noise is flat there.
    frequency = np.maximum(np.arange(len(spectrum)) / len(spectrum), 0.025)
    noise = np.fft.irfft(spectrum * frequency ** -draws.uniform(0.0, 1.0))[:num]
    noise *= 10.0 ** (-draws.uniform(*snr) / 20.0) / np.sqrt(np.mean(noise**2))
    noise[before : before + len(wave)] += speech
    noise *= 32767.0 * 10.0 ** (draws.uniform(*gain) / 20.0) / np.abs(noise).max()
    return np.rint(noise).astype(np.int16)
