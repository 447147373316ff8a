"""Color histograms and local binary patterns, against counting pixel by pixel."""

from __future__ import annotations

import colorsys
from collections import Counter

import numpy as np
import pytest

from polysense.data.features import ItemFeatureExtractor
from polysense.modalities.image.features.color_histogram import ColorHistogramConfig
from polysense.modalities.image.features.local_binary_patterns import NUM_PATTERNS, LocalBinaryPatternsConfig
from polysense.modalities.image.record import ImageColumn


def made(config: ColorHistogramConfig | LocalBinaryPatternsConfig, image: np.ndarray) -> ItemFeatureExtractor:
    channels, height, width = image.shape
    column = ImageColumn(
        name="x", image_size=(height, width), num_channels=channels, mean=(0.5,) * channels, std=(0.2,) * channels
    )
    extractor = config.create(column)
    assert isinstance(extractor, ItemFeatureExtractor)
    return extractor


def random_image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (1, 9, 14), (3, 9, 14), (3, 2, 1)])
@pytest.mark.parametrize("config", [ColorHistogramConfig(), LocalBinaryPatternsConfig(radii=(1, 3))])
def test_shares_of_each_region_sum_to_one(
    config: ColorHistogramConfig | LocalBinaryPatternsConfig, shape: tuple[int, int, int]
) -> None:
    image = random_image(*shape)
    extractor = made(config, image)
    vector = extractor.extract_item(image)
    assert vector.shape == (extractor.num_features,)
    assert np.isfinite(vector).all()
    shares = vector if isinstance(config, LocalBinaryPatternsConfig) else vector[: -shape[0] * 16]
    regions = 5 * (2 if isinstance(config, LocalBinaryPatternsConfig) else 1)
    np.testing.assert_allclose(np.square(shares).reshape(regions, -1).sum(axis=1), 1.0)


def test_gray_levels_are_counted() -> None:
    image = random_image(1, 10, 12)
    extractor = made(ColorHistogramConfig(brightnesses=2), image)
    vector = extractor.extract_item(image)
    for region, part in ((image, 0), (image[:, :5, :6], 1), (image[:, 5:, 6:], 4)):
        counts = np.histogram(region, bins=8, range=(0, 256))[0] / region.size
        np.testing.assert_allclose(np.square(vector[8 * part :][:8]), counts)
    np.testing.assert_allclose(vector[-16:].mean(), image.mean() / 255, atol=0.01)


def test_colors_are_counted_by_hue_saturation_and_brightness() -> None:
    image = random_image(3, 8, 8)
    vector = made(ColorHistogramConfig(hues=4, saturations=1, brightnesses=2), image).extract_item(image)
    hues: Counter[int] = Counter()
    for red, green, blue in image.reshape(3, -1).T / 255:
        hue, _, brightness = colorsys.rgb_to_hsv(red, green, blue)
        hues[min(int(hue * 4), 3) * 2 + (brightness * 255 >= 128)] += 1
    expected = np.array([hues[i] for i in range(8)]) / 64
    np.testing.assert_allclose(np.square(vector[:8]), expected, atol=2.1 / 64)  # a hue at a border is rounded


def test_a_red_image_is_told_from_a_blue_one_and_from_a_gray_one() -> None:
    red, blue, gray = (np.zeros((3, 8, 8), dtype=np.uint8) for _ in range(3))
    red[0], blue[2], gray[:] = 200, 200, 200
    extractor = made(ColorHistogramConfig(), red)
    vectors = [extractor.extract_item(image)[:-48] for image in (red, blue, gray)]
    for i, first in enumerate(vectors):
        assert [float(first @ other) for other in vectors] == [5.0 * (i == j) for j in range(3)]


def test_patterns_are_counted_pixel_by_pixel() -> None:
    image = random_image(1, 7, 9)[0] // 64
    around = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    counts = Counter[tuple[int, ...]]()
    for y in range(7):
        for x in range(9):
            bits = tuple(
                int(image[min(max(y + down, 0), 6), min(max(x + right, 0), 8)] >= image[y, x]) for down, right in around
            )
            changes = sum(bits[i] != bits[i - 1] for i in range(8))
            counts[bits if changes <= 2 else ()] += 1
    vector = made(LocalBinaryPatternsConfig(radii=(1,)), image[None]).extract_item(image[None])
    whole = np.square(vector[:NUM_PATTERNS]) * 63
    assert NUM_PATTERNS == 59
    assert sorted(np.rint(whole[whole > 0]).astype(int)) == sorted(counts.values())
    assert round(whole[-1]) == counts[()]


def test_brightness_does_not_change_a_texture_and_color_counts_by_its_brightness() -> None:
    image = random_image(3, 12, 12) // 2
    extractor = made(LocalBinaryPatternsConfig(), image)
    gray = np.repeat(image[1:2], 3, axis=0)
    np.testing.assert_array_equal(extractor.extract_item(gray + 100), extractor.extract_item(gray))
    one = made(LocalBinaryPatternsConfig(), image[1:2])
    assert np.abs(extractor.extract_item(image) - extractor.extract_item(gray)).max() > 0.1
    assert one.num_features == extractor.num_features


@pytest.mark.parametrize("radii", [(), (0,), (1, -2)])
def test_radii_that_are_none(radii: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one, each of 1 pixel"):
        LocalBinaryPatternsConfig(radii=radii)
