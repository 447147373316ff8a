"""Features of time series: against numpy and scipy, with gaps, of any length."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from polysense.data.features import FeatureConfig, ItemFeatureExtractor
from polysense.modalities.series.features.autocorrelation import AutocorrelationConfig
from polysense.modalities.series.features.spectrum import SeriesSpectrumConfig
from polysense.modalities.series.features.statistics import SeriesStatisticsConfig
from polysense.modalities.series.features.steps import filled, segment_means
from polysense.modalities.series.record import SeriesColumn

CONFIGS: list[FeatureConfig] = [SeriesStatisticsConfig(), SeriesSpectrumConfig(), AutocorrelationConfig()]


def made(config: FeatureConfig, channels: int = 2) -> ItemFeatureExtractor:
    names = tuple(map(str, range(channels)))
    extractor = config.create(SeriesColumn(name="x", channels=names, mean=(0.0,) * channels, std=(1.0,) * channels))
    assert isinstance(extractor, ItemFeatureExtractor)
    return extractor


def noise(steps: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(steps, channels)).astype(np.float32)


def test_statistics_are_numpys_and_scipys() -> None:
    series = noise(101).cumsum(axis=0)
    vector = made(SeriesStatisticsConfig(parts=4)).extract_item(series)
    rows, values = vector[: 2 * 22].reshape(22, 2), series.astype(float)
    np.testing.assert_allclose(rows[0], values.mean(axis=0))
    np.testing.assert_allclose(rows[1], values.std(axis=0))
    np.testing.assert_allclose(rows[2:4], [values.min(axis=0), values.max(axis=0)])
    np.testing.assert_allclose(rows[4:9], np.quantile(values, (0.1, 0.25, 0.5, 0.75, 0.9), axis=0))
    np.testing.assert_allclose(rows[9], scipy.stats.skew(values))
    np.testing.assert_allclose(rows[10], scipy.stats.kurtosis(values, fisher=False))
    np.testing.assert_allclose(rows[11], np.polyfit(np.linspace(-1, 1, 101), values, 1)[0])
    np.testing.assert_allclose(rows[12], np.abs(np.diff(values, axis=0)).mean(axis=0))
    np.testing.assert_allclose(rows[18], values[:25].mean(axis=0))
    assert vector[-2] == pytest.approx(np.corrcoef(values.T)[0, 1])
    assert vector[-1] == pytest.approx(np.log(101))


def test_a_tone_is_in_its_octave() -> None:
    steps = np.arange(512)
    series = np.stack([np.sin(2 * np.pi * 0.3 * steps), np.sin(2 * np.pi * 0.1 * steps)], axis=1).astype(np.float32)
    parts = made(SeriesSpectrumConfig(octaves=4)).extract_item(series).reshape(8, 2)
    assert parts[1, 0] > 0.95, "from half the highest frequency up"
    assert parts[3, 1] > 0.95, "from an eighth to a quarter"
    np.testing.assert_allclose(parts[1:5].sum(axis=0), 1.0)
    np.testing.assert_allclose(parts[5:7], [[0.6, 0.2]] * 2, atol=0.01)


def test_a_rhythm_comes_back() -> None:
    series = np.sin(2 * np.pi * np.arange(400) / 20)[:, None].astype(np.float32)
    found = made(AutocorrelationConfig(lags=(10, 20, 5, 400)), 1).extract_item(series)
    np.testing.assert_allclose(found, [-0.975, 0.95, 0.0, 0.0], atol=0.02)


def test_gaps_are_bridged() -> None:
    nan = np.nan
    series = np.array([[nan, 1, nan], [2, nan, nan], [nan, nan, nan], [4, 7, nan]], dtype=np.float32)
    np.testing.assert_allclose(filled(series), [[2, 1, 0], [2, 3, 0], [3, 5, 0], [4, 7, 0]])


def test_means_of_parts() -> None:
    values = np.arange(10.0)[:, None]
    np.testing.assert_allclose(segment_means(values, 5).ravel(), [0.5, 2.5, 4.5, 6.5, 8.5])
    np.testing.assert_allclose(segment_means(values[:2], 4).ravel(), [0, 0, 1, 1])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
@pytest.mark.parametrize("channels", [1, 2, 13])
@pytest.mark.parametrize("steps", [1, 2, 3, 90, 3000])
def test_any_series_gives_finite_numbers_of_one_size(config: FeatureConfig, steps: int, channels: int) -> None:
    extractor = made(config, channels)
    gaps = noise(steps, channels)
    gaps[np.random.default_rng(1).random(gaps.shape) < 0.3] = np.nan
    constant = np.full((steps, channels), 3e38, dtype=np.float32)
    for series in (noise(steps, channels), gaps, constant, np.full_like(gaps, np.nan)):
        vector = extractor.extract_item(series)
        assert vector.shape == (extractor.num_features,)
        assert np.isfinite(vector).all()


@pytest.mark.parametrize("lags", [(), (0,)])
def test_lags_that_are_none(lags: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="each of 1 step or more"):
        AutocorrelationConfig(lags=lags)
