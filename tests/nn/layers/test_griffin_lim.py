"""Spectrograms made sounds again: heard as the same, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polysense.nn.layers.griffin_lim import griffin_lim, linear_power, waveform
from polysense.nn.layers.spectrogram import FLOOR, LogMel, mel_filters

RATE = 16_000


def voice(seconds: float = 0.6, rate: int = RATE) -> np.ndarray:
    """Harmonics of a pitch that moves, under two formants, in syllables, with a little noise."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 2 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    found = sum(
        np.sin(k * phase)
        * (np.exp(-(((k * pitch - 600) / 300) ** 2)) + 0.4 * np.exp(-(((k * pitch - 1700) / 400) ** 2)))
        for k in range(1, 25)
    )
    found = found * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)) ** 2
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(time))
    return 0.3 * found / np.abs(found).max() + noise


def clip(signal: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    samples = torch.from_numpy(np.clip(np.rint(signal * 32767), -32768, 32767).astype(np.int16))
    return samples[None], torch.tensor([len(signal)])


def again(signal: np.ndarray, rate: int = RATE, num_mels: int = 64) -> tuple[torch.Tensor, float, torch.Tensor]:
    """The sound made of a sound's spectrogram; how far the spectrograms are apart, squared; and the first one."""
    log_mel = LogMel(rate, num_mels)
    samples, lengths = clip(signal)
    spectrogram = log_mel(samples, lengths)[0]
    ((mean, deviation),) = log_mel.scales(samples, lengths)[0].tolist()
    made = waveform(log_mel, spectrogram[0], mean, deviation)
    assert made.dtype is torch.int16
    assert len(made) == spectrogram.shape[2] * log_mel.hop
    other = log_mel(made[None], torch.tensor([len(made)]))[0]
    return made, float(((other - spectrogram) ** 2).mean()), spectrogram


@pytest.mark.parametrize(("rate", "num_mels"), [(16_000, 64), (16_000, 128), (8_000, 40), (44_100, 64)])
def test_what_is_made_has_the_given_spectrogram(rate: int, num_mels: int) -> None:
    made, error, _ = again(voice(rate=rate), rate, num_mels)
    assert error < 0.02  # of a variance of 1
    # As loud as it was.
    loudness = float(made.double().square().mean().sqrt())
    assert loudness == pytest.approx(32767 * np.sqrt((voice(rate=rate) ** 2).mean()), rel=0.1)


def test_phases_are_found_so_that_magnitudes_are_the_given_ones() -> None:
    log_mel = LogMel(RATE, 64)
    samples, _ = clip(voice())
    truth = log_mel.spectrum(samples.float(), 60)[0].abs()
    made = griffin_lim(log_mel, truth)
    found = log_mel.spectrum(made[None], 60)[0].abs()
    assert float((found - truth).norm() / truth.norm()) < 0.12  # spectral convergence
    # Any phases would do less: those of noise give 0.5.
    noise = torch.polar(truth, 6.28 * torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)))
    frames = torch.fft.irfft(noise, n=log_mel.fft_size, dim=0).T
    assert float(log_mel.spectrum(frames[:, : log_mel.hop].reshape(1, -1), 60)[0].abs().sub(truth).norm()) > 2 * float(
        (found - truth).norm()
    )


@pytest.mark.parametrize("frequency", [220.0, 1000.0, 3300.0])
def test_a_tone_comes_back_at_its_frequency(frequency: float) -> None:
    made, _, _ = again(0.3 * np.sin(2 * np.pi * frequency * np.arange(RATE // 2) / RATE))
    loudest = np.abs(np.fft.rfft(made.double().numpy())).argmax() * RATE / len(made)
    # Bands of 64 mels are 40 Hz wide at 220 Hz and 170 Hz wide at 3,300 Hz.
    assert abs(loudest - frequency) < max(20.0, 0.03 * frequency)


def test_the_same_bands_make_the_same_sound_wherever_they_come_from() -> None:
    first, _, spectrogram = again(voice())
    torch.manual_seed(5)
    torch.rand(7)
    state = torch.get_rng_state()
    assert torch.equal(again(voice())[0], first)
    assert torch.equal(torch.get_rng_state(), state)
    log_mel = LogMel(RATE, 64)
    wide = torch.cat([spectrogram[0], torch.zeros(64, 9)], dim=1)[:, : spectrogram.shape[2]]
    one, two = (waveform(log_mel, bands, 5.0, 1.3) for bands in (spectrogram[0], wide))
    assert torch.equal(one, two)


@pytest.mark.parametrize("length", [1, 7, 200, 401])
def test_a_very_short_sound(length: int) -> None:
    made, _, spectrogram = again(voice()[2000 : 2000 + length])
    assert len(made) == spectrogram.shape[2] * 160
    assert made.abs().max() > 0


def test_silence_stays_silent_and_nothing_overflows() -> None:
    made, _, spectrogram = again(np.zeros(4000))
    assert not made.any()
    log_mel = LogMel(RATE, 64)
    loud = waveform(log_mel, torch.full_like(spectrogram[0], 50.0), 9.0, 3.0)
    assert int(loud.abs().max()) == 32767  # scaled down as a whole


def test_bins_are_not_negative_and_make_the_bands() -> None:
    filters = mel_filters(257, 64, RATE)
    truth = 10.0 ** (7 * torch.rand(257, 5, generator=torch.Generator().manual_seed(0)))
    bands = filters.T @ truth
    found = linear_power(bands, filters)
    assert (found >= 0).all()
    assert float(((filters.T @ found) / bands).log10().abs().mean()) < 0.01  # 0.1 dB
    assert not found[filters.sum(dim=1) == 0].any()
    assert not linear_power(torch.zeros(64, 3), filters).any()


def test_scales_are_what_standardising_takes_out() -> None:
    log_mel = LogMel(RATE, 64)
    samples, lengths = clip(voice())
    standardised, _ = log_mel(samples, lengths)
    ((mean, deviation),), frames = (found.tolist() for found in log_mel.scales(samples, lengths))
    assert frames == [60]
    power = log_mel.spectrum(samples.float(), 60).abs() ** 2
    expected = (power.transpose(1, 2) @ log_mel.filters).clamp(min=FLOOR).log10().transpose(1, 2)
    torch.testing.assert_close(
        standardised * deviation + mean, expected.clamp(min=expected.max() - 8.0), atol=1e-3, rtol=0
    )
