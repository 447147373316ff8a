"""Motion energy: what changes between frames, and where."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.config.codec import from_dict
from polysense.core.registry import modality
from polysense.data.features import FeatureConfig
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.video.features.motion import MotionEnergyConfig
from polysense.modalities.video.record import VideoColumn


def column(height: int, width: int) -> VideoColumn:
    frame = ImageColumn(name="x", image_size=(height, width), num_channels=1, mean=(0.5,), std=(0.2,))
    return VideoColumn(name="x", frame=frame, multiple=True, max_items=4)


def test_it_is_where_something_moves() -> None:
    frames = np.zeros((3, 1, 8, 8), dtype=np.uint8)
    frames[1:, :, :4, 4:] = 255  # appears, and stays
    vector = MotionEnergyConfig(cells=2).create(column(8, 8)).extract(None, list(frames)).reshape(3, 2, 2)
    np.testing.assert_allclose(vector[:, 0, 1], [0.5, 0.5, 1.0])
    assert np.count_nonzero(vector) == 3


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 2)])
def test_uneven_parts_and_one_frame(size: tuple[int, int]) -> None:
    extractor = MotionEnergyConfig(cells=4).create(column(*size))
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 1, *size), dtype=np.uint8))
    vector = extractor.extract(None, frames)
    assert vector.shape == (extractor.num_features,)
    changes = np.abs(np.diff(np.array(frames, dtype=float), axis=0)) / 255
    assert vector.max() <= changes.max() + 1e-12
    assert not extractor.extract(None, frames[:1]).any()


def test_features_of_images_are_means_over_frames() -> None:
    video = column(12, 12)
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 1, 12, 12), dtype=np.uint8))
    for plain in modality("image").default_features(9):
        config = from_dict(FeatureConfig, dict(plain), where="test")
        single = config.create(video.frame)
        expected = np.mean([single.extract(None, [frame]) for frame in frames], axis=0)
        np.testing.assert_allclose(config.create(video).extract(None, frames), expected)
