"""Film strip: brightness by part and time, evenly spaced times."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.modalities.image.record import ImageColumn
from polysense.modalities.video.features.film_strip import FilmStripConfig
from polysense.modalities.video.record import VideoColumn


def column(height: int, width: int, frames: int = 4) -> VideoColumn:
    frame = ImageColumn(name="x", image_size=(height, width), num_channels=1, mean=(0.5,), std=(0.2,))
    return VideoColumn(name="x", frame=frame, multiple=True, max_items=frames)


def test_it_is_the_brightness_of_each_part_at_each_time() -> None:
    frames = np.zeros((4, 1, 4, 8), dtype=np.uint8)
    frames[2, :, :2, 6:] = 255
    extractor = FilmStripConfig(cells=2, times=4).create(column(4, 8))
    vector = extractor.extract(None, list(frames)).reshape(4, 2, 4)
    assert vector[2, 0, 3] == pytest.approx(1.0)
    assert np.count_nonzero(vector) == 1


def test_times_are_evenly_spaced_whatever_the_number_of_frames() -> None:
    extractor = FilmStripConfig(cells=1, times=4).create(column(2, 2, frames=9))
    bright = [np.full((1, 2, 2), 25 * i, np.uint8) for i in range(9)]
    got = {n: (extractor.extract(None, bright[:n]) * 255 / 25).round().tolist() for n in (1, 2, 4, 8)}
    assert got == {1: [0, 0, 0, 0], 2: [0, 0, 1, 1], 4: [0, 1, 2, 3], 8: [1, 3, 5, 7]}
    assert not extractor.extract(None, []).any()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 2), (64, 7)])
def test_uneven_parts_are_means_of_their_pixels(size: tuple[int, int]) -> None:
    extractor = FilmStripConfig(cells=4, times=2).create(column(*size))
    frames = list(np.random.default_rng(0).integers(0, 256, (2, 3, *size), dtype=np.uint8))
    vector = extractor.extract(None, frames)
    assert vector.shape == (extractor.num_features,)
    assert 0 <= vector.min() <= vector.max() <= 1


def test_one_part_for_every_pixel_is_the_pixels() -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (2, 3, 5, 5), dtype=np.uint8))
    vector = FilmStripConfig(cells=5, times=2).create(column(5, 5)).extract(None, frames)
    assert vector == pytest.approx(np.concatenate([frame.mean(axis=0).ravel() / 255 for frame in frames]))


def test_no_more_times_than_frames_are_there() -> None:
    assert FilmStripConfig(cells=1).create(column(2, 2, frames=3)).num_features == 3
