"""Log-mel spectrogram back to a waveform: what was thrown away on the way there is guessed.

Two things are missing. A mel band is a sum over bins, so bins are sought that are not negative and whose bands are the
given ones: by the multiplicative updates for the Kullback-Leibler divergence (Lee and Seung, "Algorithms for
Non-negative Matrix Factorization", NIPS 2000, theorem 2), which weigh each band by its ratio, as its logarithm does;
least squares would see the loudest bands alone, of a spectrogram that spans 80 dB. And phases: a signal is sought whose
magnitudes are the given ones, by going to and fro between them and the nearest signal (Griffin and Lim, "Signal
Estimation from Modified Short-Time Fourier Transform", 1984), here with momentum (Perraudin, Balazs, Sondergaard, "A
Fast Griffin-Lim Algorithm", 2013), which gets further in fewer rounds.

Nothing is drawn at random: each bin begins as a steady tone of its own frequency, so a tone is one from the start. The
trade-off: no training, and a voice that is understood but sounds as if through a tube; a vocoder would sound better and
would have to be trained on the column first.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float, Int16
from torch import Tensor

from polysense.nn.layers.spectrogram import FLOOR, LogMel

__all__ = ["griffin_lim", "linear_power", "waveform"]

_NUM_UPDATES = 100  # of the bins; the bands are then within 0.1 dB where any bins can make them
_NUM_ROUNDS = 32  # of phases, as is usual
_MOMENTUM = 0.99  # the best of Perraudin et al., figure 2
_TINY = 1e-12
_MOST_LOG_POWER = 14.0  # of full scale in one bin it is 13.5 at most: no prediction makes an infinity


@torch.no_grad()
def waveform(
    log_mel: LogMel, spectrogram: Float[Tensor, "mels frames"], mean: float, deviation: float
) -> Int16[Tensor, " samples"]:
    """A sound whose spectrogram is the given one, as nearly as one can be found; `hop` samples for each frame.

    Args:
        log_mel: The spectrogram's definition.
        spectrogram: Standardised, on its device, at least one frame.
        mean: Of log10 power, which standardising took out: how loud it is.
        deviation: Likewise.
    """
    with torch.autocast(spectrogram.device.type, enabled=False):
        # How the numbers lie in memory, which is chance, may change the last bits of a product.
        log_power = (spectrogram.float().contiguous() * deviation + mean).clamp(max=_MOST_LOG_POWER)
        # At the floor nothing was heard.
        power = linear_power((10.0**log_power - FLOOR).clamp(min=0.0), log_mel.filters)
        signal = griffin_lim(log_mel, power.sqrt())
        # Louder than full scale, it is scaled down as a whole, as decoding does.
        peak = (signal.abs().amax() / 32767.0).clamp(min=1.0)
        return (signal / peak).round().to(torch.int16)


@torch.no_grad()
def linear_power(
    bands: Float[Tensor, "mels frames"], filters: Float[Tensor, "bins mels"]
) -> Float[Tensor, "bins frames"]:
    """Power of each bin, none negative, such that the mel bands are the given ones as nearly as can be.

    Args:
        bands: Power.
        filters: See `mel_filters`. A bin in no band has no power.
    """
    reach = filters.sum(dim=1, keepdim=True)
    inside = reach > _TINY
    power = torch.where(inside, filters @ bands / reach.clamp(min=_TINY), 0.0)
    for _ in range(_NUM_UPDATES):
        ratio = bands / (filters.T @ power).clamp(min=_TINY)
        power = torch.where(inside, power * (filters @ ratio) / reach.clamp(min=_TINY), 0.0)
    return power


@torch.no_grad()
def griffin_lim(log_mel: LogMel, magnitudes: Float[Tensor, "bins frames"]) -> Float[Tensor, " samples"]:
    """A signal whose Fourier transforms have the given magnitudes, as nearly as 32 rounds come.

    Args:
        log_mel: The windows.
        magnitudes: Of `log_mel.spectrum`.
    """
    num_bins, num_frames = magnitudes.shape
    device = magnitudes.device
    # A steady tone turns by so much of a circle from frame to frame; begun apart, the bins don't add up to a click.
    bins = torch.arange(num_bins, device=device, dtype=torch.float64)
    frames = torch.arange(num_frames, device=device, dtype=torch.float64)
    turns = bins[:, None] * (frames * log_mel.hop) / log_mel.fft_size + (bins**2 / (2 * num_bins))[:, None]
    angles = (2 * math.pi * turns.remainder(1.0)).float()
    spectrum = torch.polar(magnitudes, angles)
    window = _placed_window(log_mel)
    weight = _overlapped((window * window).expand(num_frames, -1), log_mel).clamp(min=1e-3)
    before = torch.zeros_like(spectrum)
    for _ in range(_NUM_ROUNDS):
        signal = _signal(log_mel, spectrum, window, weight)
        found = log_mel.spectrum(signal[None], num_frames)[0]
        moved = torch.lerp(before, found, 1.0 + _MOMENTUM)
        before = found
        spectrum = moved * (magnitudes / moved.abs().clamp(min=_TINY))
    return _signal(log_mel, spectrum, window, weight)


def _placed_window(log_mel: LogMel) -> Float[Tensor, " size"]:
    """The window as `torch.stft` places it in a longer transform."""
    room = log_mel.fft_size - log_mel.window_size
    return torch.nn.functional.pad(log_mel.window, (room // 2, room - room // 2))


def _signal(
    log_mel: LogMel,
    spectrum: Complex[Tensor, "bins frames"],
    window: Float[Tensor, " size"],
    weight: Float[Tensor, " samples"],
) -> Float[Tensor, " samples"]:
    """The signal whose transforms are the nearest to the given ones (Griffin and Lim, equation 6)."""
    pieces = torch.fft.irfft(spectrum.T, n=log_mel.fft_size, dim=1)
    return _overlapped(pieces * window, log_mel) / weight


def _overlapped(pieces: Float[Tensor, "frames size"], log_mel: LogMel) -> Float[Tensor, " samples"]:
    """The pieces summed where they stand in the signal; what lies beyond its ends is cut."""
    num_frames, left = len(pieces), log_mel.fft_size // 2
    length = (num_frames - 1) * log_mel.hop + log_mel.fft_size
    summed: Tensor = torch.nn.functional.fold(
        pieces.T[None], output_size=(1, length), kernel_size=(1, log_mel.fft_size), stride=(1, log_mel.hop)
    ).flatten()
    return summed[left : left + num_frames * log_mel.hop]
