"""Histograms of oriented gradients: against loops over pixels, and what they tell apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polysense.modalities.image.features.hog import HogConfig, HogExtractor
from polysense.modalities.image.record import ImageColumn


def column(height: int, width: int, channels: int) -> ImageColumn:
    return ImageColumn(
        name="x", image_size=(height, width), num_channels=channels, mean=(0.5,) * channels, std=(0.2,) * channels
    )


def extractor(height: int, width: int, channels: int = 1, **options: int) -> HogExtractor:
    made = HogConfig(**options).create(column(height, width, channels))  # type: ignore[arg-type]
    assert isinstance(made, HogExtractor)
    return made


def reference(image: np.ndarray, grid: int, orientations: int) -> np.ndarray:
    """Pixel by pixel."""
    channels, height, width = image.shape
    pixels = image.astype(float)
    rows, columns = min(grid, height), min(grid, width)
    cells = np.zeros((rows, columns, orientations))
    for y in range(height):
        for x in range(width):
            best = (-1.0, 0.0, 0.0)
            for c in range(channels):
                down = pixels[c, y + 1, x] - pixels[c, y - 1, x] if 0 < y < height - 1 else 0.0
                right = pixels[c, y, x + 1] - pixels[c, y, x - 1] if 0 < x < width - 1 else 0.0
                if down**2 + right**2 > best[0]:
                    best = (down**2 + right**2, down, right)
            size, down, right = best
            at = (math.atan2(down, right) / math.pi % 1.0) * orientations
            low = math.floor(at)
            cell = cells[y * rows // height, x * columns // width]
            cell[low % orientations] += math.sqrt(size) * (1 - (at - low))
            cell[(low + 1) % orientations] += math.sqrt(size) * (at - low)
    cells *= rows * columns / (height * width)
    blocks = []
    for y in range(max(rows - 1, 1)):
        for x in range(max(columns - 1, 1)):
            block = cells[y : y + 2, x : x + 2].ravel()
            block = np.minimum(block / math.sqrt((block**2).sum() + 1.0), 0.2)
            blocks.append(block / math.sqrt((block**2).sum() + 1e-10))
    return np.concatenate(blocks)


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 17, 23), (3, 40, 8), (1, 2, 9), (3, 1, 1), (1, 1, 30)])
@pytest.mark.parametrize(("cells", "orientations"), [(3, 9), (2, 4)])
def test_it_is_the_loop_over_pixels(shape: tuple[int, int, int], cells: int, orientations: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    hog = extractor(shape[1], shape[2], shape[0], cells=cells, orientations=orientations)
    vector = hog.extract_item(image)
    assert vector.shape == (hog.num_features,)
    np.testing.assert_allclose(vector, reference(image, cells, orientations), atol=1e-5)


def test_an_edges_direction_and_not_its_contrast_counts() -> None:
    hog = extractor(16, 16, orientations=4, cells=2)
    edge = np.zeros((1, 16, 16), dtype=np.uint8)
    edge[:, :, 8:] = 200
    first = hog.extract_item(edge)
    np.testing.assert_allclose(hog.extract_item(edge // 2), first, atol=0.02)
    np.testing.assert_allclose(hog.extract_item(255 - edge), first, atol=1e-6)
    turned = hog.extract_item(edge.transpose(0, 2, 1).copy())
    assert np.abs(turned - first).max() > 0.4


def test_a_flat_image_has_no_edges() -> None:
    assert not extractor(16, 20, 3).extract_item(np.full((3, 16, 20), 77, dtype=np.uint8)).any()


def test_large_images_have_no_longer_vectors() -> None:
    assert extractor(480, 640).num_features == extractor(64, 64).num_features == 7 * 7 * 4 * 9
