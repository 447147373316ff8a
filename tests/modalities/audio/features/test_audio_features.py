"""Statistics of sound: against torch, scipy and written-out formulas; silent, short and damaged clips."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.audio.features.log_mel import LogMelConfig
from polysense.modalities.audio.features.log_mel_statistics import LogMelStatisticsConfig
from polysense.modalities.audio.features.mfcc_statistics import (
    MfccStatisticsConfig,
    MfccStatisticsExtractor,
    deltas,
)
from polysense.modalities.audio.features.spectra import log_mel, mel_filters, over_time, spectra
from polysense.modalities.audio.features.spectral_shape import SpectralShapeConfig, SpectralShapeExtractor
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.layers import spectrogram

CONFIGS: list[FeatureConfig] = [
    LogMelConfig(), LogMelStatisticsConfig(), MfccStatisticsConfig(), SpectralShapeConfig()
]  # fmt: skip


def made(config: FeatureConfig, rate: int = 8000) -> ItemFeatureExtractor:
    extractor = config.create(AudioColumn(name="x", sample_rate=rate))
    assert isinstance(extractor, ItemFeatureExtractor)
    return extractor


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3000, length).astype(np.int16)


def tone(hertz: float, length: int = 8000, rate: int = 8000, size: float = 8000) -> np.ndarray:
    return (size * np.sin(2 * np.pi * hertz * np.arange(length) / rate)).astype(np.int16)


@pytest.mark.parametrize("rate", [1000, 8000, 16000, 44100])
@pytest.mark.parametrize("length", [1, 79, 80, 81, 5003])
def test_spectra_are_those_of_the_encoders(rate: int, length: int) -> None:
    waveform = noise(length)
    layer = spectrogram.LogMel(rate, 24)
    power = spectra(waveform, rate).power
    expected = layer.spectrum(torch.from_numpy(waveform)[None].float(), len(power))[0].abs().square().T
    assert len(power) == -(-length // max(rate // 100, 1))
    np.testing.assert_allclose(power, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))
    filters = spectrogram.mel_filters(power.shape[1], 24, rate)
    np.testing.assert_allclose(mel_filters(power.shape[1], 24, rate).T, filters, atol=1e-6)
    bands = (expected @ filters).clamp(min=spectrogram.FLOOR).log10()
    np.testing.assert_allclose(log_mel(spectra(waveform, rate), 24), bands.clamp(min=bands.max() - 8), atol=1e-3)


def test_cepstral_coefficients_are_scipys_transform() -> None:
    waveform = noise(3000)
    extractor = made(MfccStatisticsConfig(num_coefficients=13, num_mels=26))
    assert isinstance(extractor, MfccStatisticsExtractor)
    expected = scipy.fft.dct(log_mel(spectra(waveform, 8000), 26), norm="ortho")[:, :13]
    np.testing.assert_allclose(extractor.coefficients(waveform), expected, atol=1e-9)


def test_deltas_are_slopes_of_lines_through_five_frames() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2))
    found = deltas(values)
    for frame in range(2, 7):
        for number in range(2):
            slope = np.polyfit(np.arange(5), values[frame - 2 : frame + 3, number], 1)[0]
            assert found[frame, number] == pytest.approx(slope)
    np.testing.assert_allclose(deltas(np.arange(12.0)[:, None])[2:-2], 1.0)


def test_statistics_over_frames() -> None:
    values = np.random.default_rng(0).normal(size=(101, 3))
    parts = over_time(values).reshape(7, 3)
    changes = np.diff(values, axis=0)
    expected = [
        values.mean(0), values.std(0), *np.quantile(values, (0.1, 0.5, 0.9), axis=0), np.abs(changes).mean(0),
        changes.std(0),
    ]  # fmt: skip
    np.testing.assert_allclose(parts, expected)
    np.testing.assert_array_equal(over_time(values[:1]).reshape(7, 3)[[1, 5, 6]], 0.0)


def test_descriptors_of_tones_noise_and_silence() -> None:
    extractor = made(SpectralShapeConfig())
    assert isinstance(extractor, SpectralShapeExtractor)

    def middle(waveform: np.ndarray) -> np.ndarray:
        return np.median(extractor.descriptors(waveform), axis=0)

    centroid, spread, rolloff, flatness, flux, crossings, loudness = middle(tone(1000))
    assert centroid == pytest.approx(0.25, abs=0.005)  # of 4000 Hz
    assert rolloff == pytest.approx(0.25, abs=0.02)
    assert crossings == pytest.approx(0.25, abs=0.01)
    assert loudness == pytest.approx(np.log10(8000 / np.sqrt(2) / 32768), abs=0.01)
    assert spread < 0.02
    assert flatness < 0.01
    assert flux < 0.05
    noisy = middle(noise(8000))
    assert noisy[0] == pytest.approx(0.5, abs=0.05)
    assert noisy[3] > 0.4
    assert noisy[4] > 0.5
    silent = middle(np.zeros(8000, dtype=np.int16))
    np.testing.assert_allclose(silent, [0, 0, 0, 1, 0, 0, -5], atol=1e-9)


def test_the_duration_is_told() -> None:
    extractor = made(SpectralShapeConfig())
    assert extractor.extract_item(noise(4000))[-1] == pytest.approx(np.log(0.5))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
@pytest.mark.parametrize(
    "clip",
    [
        np.zeros(1, dtype=np.int16), np.zeros(8000, dtype=np.int16), noise(1), noise(37), noise(30_000),
        np.full(5000, -32768, dtype=np.int16), np.array([32767, -32768] * 3000, dtype=np.int16),
    ],
    ids=["one 0", "silent", "one", "37", "long", "constant", "loudest"],
)  # fmt: skip
def test_any_clip_gives_finite_numbers_of_one_size(config: FeatureConfig, clip: np.ndarray) -> None:
    extractor = made(config)
    vector = extractor.extract_item(clip)
    assert vector.shape == (extractor.num_features,)
    assert np.isfinite(vector).all()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_a_clips_vector_is_its_own(config: FeatureConfig) -> None:
    extractor = made(config)
    first = extractor.extract_item(noise(3000))
    other = extractor.extract_item(noise(9000, seed=1))
    assert extractor.extract_item(noise(3000)).tobytes() == first.tobytes()
    assert made(config).extract_item(noise(9000, seed=1)).tobytes() == other.tobytes()
    assert made(config, 16000).extract_item(noise(3000)).tobytes() != first.tobytes(), "another rate, the same samples"


def test_more_coefficients_than_bands() -> None:
    with pytest.raises(ValueError, match="at most num_mels"):
        MfccStatisticsConfig(num_coefficients=30, num_mels=20)


@pytest.mark.parametrize("length", [1, 79, 700, 5003])
def test_a_spectrogram_has_one_size_whatever_the_clips_length(length: int) -> None:
    waveform = noise(length)
    grid = made(LogMelConfig(num_spans=6, num_mels=5)).extract_item(waveform).reshape(6, 5)
    frames = log_mel(spectra(waveform, 8000), 5)
    for span in range(6):
        low, high = span * len(frames) // 6, max(-(-(span + 1) * len(frames) // 6), span * len(frames) // 6 + 1)
        np.testing.assert_array_equal(grid[span], frames[low:high].mean(axis=0))
