"""Recordings read at other places than their samples': faster or slower, higher or lower.

Speed is a resampling, pitch goes with it (Ko et al., "Audio augmentation for speech recognition", Interspeech 2015,
section 2). Pitch alone is shifted by two delay lines whose delays run through a window of 50 ms like sawteeth, half a
window apart and faded into each other (Disch and Zoelzer, "Modulation and delay line based digital audio effects",
DAFx 1999; Zoelzer, "DAFX", 2011, section 6.4.3): every sample stays within 25 ms of its time, and no phase vocoder's
transform of a whole clip is needed. Both read between samples with a Lanczos kernel of four lobes, widened where
reading is faster so that nothing folds back. Everything is sample by sample, so no bit depends on the batch.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64, Int16, Int64
from torch import Tensor

__all__ = ["read_at", "shifted_pitch", "speeded"]

_LOBES = 4
_PHASES = 1024  # places between two samples; what this rounds away is 60 dB below the signal
_WINDOW = 0.05  # seconds of the delay lines


def speeded(
    samples: Int16[Tensor, "clips samples"],
    lengths: Int64[Tensor, " clips"],
    factors: Float64[Tensor, " clips"],
    longest: int,
    fastest: float,
) -> tuple[Int16[Tensor, "clips longest"], Int64[Tensor, " clips"]]:
    """Clips at other speeds; what lay at t lies at t / factor.

    Args:
        samples: 0 from `lengths` on.
        lengths: Of the clips.
        factors: How many times as fast each is to run.
        longest: Samples of the result, at least those of the slowest clip.
        fastest: The largest factor that there may be.

    Returns:
        The clips, 0 from their new lengths on, and these.
    """
    after = torch.where(lengths > 0, (lengths / factors).round().long().clamp(min=1), 0)
    index = torch.arange(longest, device=samples.device)
    place = (index + 0.5) * factors[:, None] - 0.5
    values = read_at(samples, place, factors, fastest)
    inside = index < after[:, None]
    return (values * inside).round_().clamp_(-32768, 32767).to(torch.int16), after


def shifted_pitch(
    samples: Int16[Tensor, "clips samples"],
    lengths: Int64[Tensor, " clips"],
    factors: Float64[Tensor, " clips"],
    highest: float,
    rate: int,
) -> Int16[Tensor, "clips samples"]:
    """Clips of the same lengths whose frequencies are multiplied.

    Args:
        samples: 0 from `lengths` on.
        lengths: Of the clips.
        factors: Of the frequencies; 2 is an octave up.
        highest: The largest factor that there may be.
        rate: Samples per second.
    """
    window = _WINDOW * rate
    index = torch.arange(samples.shape[1], device=samples.device, dtype=torch.float64)
    turns = index * (factors[:, None] - 1) / window
    result = torch.zeros(samples.shape, device=samples.device)
    for offset in (0.0, 0.5):
        phase = turns + offset
        phase = phase - phase.floor()
        weight = (math.pi * phase).sin().square().float()
        result += weight * read_at(samples, index + window * (phase - 0.5), factors, highest)
    inside = index < lengths[:, None]
    return (result * inside).round_().clamp_(-32768, 32767).to(torch.int16)


def read_at(
    samples: Int16[Tensor, "clips samples"],
    places: Float64[Tensor, "clips places"],
    steps: Float64[Tensor, " clips"],
    longest_step: float,
) -> Float[Tensor, "clips places"]:
    """What lies at places between samples; beyond the ends lies silence.

    Args:
        samples: Of the clips.
        places: In samples, of any sign.
        steps: From one place to the next; above 1 what would fold back is filtered out.
        longest_step: The largest step that there may be; the kernel has that many times eight samples.
    """
    if places.device.type == "cpu" and len(places) > 1:  # what is looked up by turns then fits into the cache
        parts = [slice(i, i + 1) for i in range(len(places))]
        return torch.cat([read_at(samples[part], places[part], steps[part], longest_step) for part in parts])
    reach = math.ceil(_LOBES * max(longest_step, 1.0))
    below = places.floor()
    # For each clip a table of the kernel's weights [phases, taps]: looked up, they cost a fifth of being computed.
    phase = ((places - below) * _PHASES).round_().long()
    phase += torch.arange(len(places), device=places.device)[:, None] * (_PHASES + 1)
    table = _weights(steps, reach)
    # Silence stands around each clip, and places far beyond its ends lie in it.
    width = samples.shape[1] + 4 * reach
    padded = torch.zeros(len(samples), width, device=samples.device)
    padded[:, 2 * reach : 2 * reach + samples.shape[1]] = samples
    first = below.long().clamp_(-reach, samples.shape[1] + reach - 1) + reach + 1
    first += torch.arange(len(places), device=places.device)[:, None] * width
    flat, first, phase = padded.flatten(), first.flatten(), phase.flatten()
    total = torch.zeros(places.numel(), device=samples.device)
    for tap in range(2 * reach):  # `index_select` takes a third of the time of an index
        total += table[:, :, tap].flatten().index_select(0, phase) * flat[tap:].index_select(0, first)
    return total.view(places.shape)


def _weights(steps: Float64[Tensor, " clips"], reach: int) -> Float[Tensor, "clips phases taps"]:
    """The Lanczos kernel's at the samples from `reach - 1` before a place on; of each phase they sum to 1."""
    phases = torch.arange(_PHASES + 1, device=steps.device, dtype=torch.float64)[:, None] / _PHASES
    taps = torch.arange(1 - reach, reach + 1, device=steps.device)
    away = (phases - taps) * (1 / steps).clamp(max=1.0)[:, None, None]
    kernel = torch.where(away.abs() < _LOBES, torch.sinc(away) * torch.sinc(away / _LOBES), 0.0)
    # Exactly: where nothing is widened, a place that is a sample is that sample.
    kernel = torch.where((away == away.round()) & (away != 0) & (steps <= 1)[:, None, None], 0.0, kernel)
    total = sum(kernel[:, :, tap : tap + 1] for tap in range(2 * reach))
    return (kernel / total).float()
