"""A number's value and quantile, however its values are spread."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.data.features import FeatureExtractor
from polysense.modalities.number.features.value import NumberFeaturesConfig
from polysense.modalities.number.record import NumberColumn


def fitted(values: np.ndarray) -> FeatureExtractor:
    extractor = NumberFeaturesConfig().create(NumberColumn(name="x", mean=0.0, std=1.0))
    extractor.fit([], [[np.array([value], dtype=np.float32)] for value in values])
    return extractor


def numbers(extractor: FeatureExtractor, value: float) -> np.ndarray:
    return extractor.extract(None, [np.array([value], dtype=np.float32)])


def test_a_quantile_is_the_share_of_training_values_below() -> None:
    values = np.random.default_rng(0).lognormal(size=5000)
    extractor = fitted(values)
    for value in np.quantile(values, (0.01, 0.3, 0.5, 0.99)):
        assert numbers(extractor, value)[1] == pytest.approx(np.mean(values < value), abs=2e-3)
    assert numbers(extractor, -1.0)[1] < 2e-3
    assert numbers(extractor, 1e9)[1] > 0.998


def test_equal_values_have_the_middle_of_their_ranks() -> None:
    extractor = fitted(np.array([0.0, 0, 0, 0, 1, 2]))
    assert numbers(extractor, 0.0)[1] == pytest.approx(2 / 6)
    assert numbers(extractor, 2.0)[1] == pytest.approx(5.5 / 6)
    assert numbers(fitted(np.array([3.0])), 3.0).tolist() == [3.0, 0.5]


def test_far_values_are_compressed() -> None:
    extractor = fitted(np.arange(10.0))
    assert numbers(extractor, 7.5)[0] == 7.5
    assert 30 < numbers(extractor, 1e10)[0] < 40
    assert numbers(extractor, 3e38)[0] > numbers(extractor, 1e38)[0]
