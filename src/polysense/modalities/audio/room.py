"""Reverberation: the response of a room that there is not, as noise that decays exponentially.

Late reflections of a room are dense and look like Gaussian noise under an exponential (Polack, "La transmission de
l'energie sonore dans les salles", 1988; Ko et al., "A study on data augmentation of reverberant speech", ICASSP 2017,
find simulated rooms as good as measured ones). A response has the direct sound and such a tail, at a drawn ratio of
their energies; what rings on after the clip is cut, so nothing moves.

Both the clip and the response are integers, and so is their convolution, which the Fourier transform in float64 gives
exactly once it is rounded: its size, and so the batch, decides no bit.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import Int16, Int32
from torch import Tensor

from polysense.core.random import generator

__all__ = ["response", "reverberated"]

_UNIT = 2**16  # the direct sound of a response
_TABLE_SIZE = 2**17


def response(place: float, seconds: float, ratio_db: float, rate: int, length: int) -> Int32[np.ndarray, " length"]:
    """A room's response.

    Args:
        place: From 0 to 1, which room it is.
        seconds: In which the tail falls by 60 dB.
        ratio_db: The energy of the direct sound to that of the tail.
        rate: Samples per second.
        length: Samples of the response.

    Returns:
        In 65536ths of the direct sound, which is the first sample.
    """
    start = int(place * _TABLE_SIZE)
    step = np.arange(length, dtype=np.float64)
    tail = _table()[(start + np.arange(length)) % _TABLE_SIZE] * 10 ** (-3 * step / max(seconds * rate, 1))
    tail[0] = 0.0
    energy = float(np.square(tail).sum())
    if energy > 0:
        tail *= np.sqrt(10 ** (-ratio_db / 10) / energy)
    result = np.rint(tail * _UNIT).astype(np.int32)
    result[0] = _UNIT
    return result


def reverberated(
    samples: Int16[Tensor, "clips samples"], responses: Int32[Tensor, "clips length"]
) -> Int16[Tensor, "clips samples"]:
    """Clips in rooms, as loud as they were.

    Args:
        samples: Of the clips.
        responses: Of their rooms.
    """
    from scipy.fft import next_fast_len

    length = samples.shape[1]
    size = int(next_fast_len(length + responses.shape[1] - 1, real=True))
    spectrum = torch.fft.rfft(samples.double(), size) * torch.fft.rfft(responses.double(), size)
    whole = torch.fft.irfft(spectrum, size)[:, :length].round_()  # an integer, see above
    energy = responses.long().square().sum(dim=1).double()
    result: Tensor = (whole / energy.sqrt()[:, None]).round_().clamp_(-32768, 32767).to(torch.int16)
    return result


@functools.cache
def _table() -> np.ndarray:
    return generator("room table").standard_normal(_TABLE_SIZE)
