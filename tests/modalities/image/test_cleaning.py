"""Borders of one color: cropped with the geometry that goes with it, or left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polysense.config.codec import from_dict
from polysense.data.config import DataConfig
from polysense.data.media.raster import Upright
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.errors import ColumnError
from polysense.modalities.image.cleaning import CropBorderConfig


def framed(seed: int, top: int = 10, bottom: int = 6, left: int = 4, right: int = 0, color: int = 3) -> np.ndarray:
    """Noise of 24 x 24 pixels within a border."""
    inner = np.random.default_rng(seed).integers(60, 255, (24, 24, 3), dtype=np.uint8)
    return np.pad(inner, ((top, bottom), (left, right), (0, 0)), constant_values=color)


def upright(pixels: np.ndarray) -> Upright:
    height, width = pixels.shape[:2]
    return Upright(Image.fromarray(pixels), (height, width), (0.0, 0.0, float(width), float(height)))


def test_each_side_is_cropped_by_its_own_color() -> None:
    pixels = framed(0)
    pixels[-6:] = 250
    result = CropBorderConfig().create().clean(upright(pixels))
    assert isinstance(result, Upright)
    assert result.box == (4.0, 10.0, 28.0, 34.0)
    assert result.size == (24, 24)


@pytest.mark.parametrize(
    "pixels",
    [
        framed(1, 0, 0, 0, 0),
        np.full((30, 30, 3), 7, dtype=np.uint8),
        np.pad(np.full((4, 4, 3), 200, dtype=np.uint8), ((9, 9), (9, 9), (0, 0))),
        np.zeros((1, 1, 3), dtype=np.uint8),
        np.indices((16, 16)).sum(axis=0).astype(np.uint8) % 2 * 255,
    ],
)
def test_what_has_no_border_or_nothing_else_stays(pixels: np.ndarray) -> None:
    image = upright(pixels)
    assert CropBorderConfig().create().clean(image) is image


def test_a_reduced_copy_is_cropped_in_the_originals_pixels() -> None:
    image = upright(framed(2))._replace(size=(80, 56))
    result = CropBorderConfig().create().clean(image)
    assert isinstance(result, Upright)
    assert result.size == (48, 48)


def config(**more: object) -> DataConfig:
    plain = {
        "columns": {"photo": {"type": "image", "size": [24, 24]}},
        "targets": {"label": {"type": "classification"}},
        "cleaning": {"photo": ["crop_border"]},
    }
    return from_dict(DataConfig, {**plain, **more})


def test_a_column_is_cropped_and_says_where_its_pixels_were(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(framed(i) if i else framed(i, 0, 0, 0, 0)).save(tmp_path / f"{i}.png")
    table = read_table({"photo": [f"{i}.png" for i in range(4)], "label": ["x", "y"] * 2}, root=tmp_path)
    processor = Processor.fit(table, config())
    assert processor.cleaning_remarks() == ["photo: cleaning crop_border changed 3 of 4 training cells tried"]
    processor.save(tmp_path / "saved")
    sample = Processor.load(tmp_path / "saved").transform(table, 1, with_targets=False)
    np.testing.assert_array_equal(sample.values["photo"][0], framed(1)[10:34, 4:28].transpose(2, 0, 1))
    placement = sample.placements["photo"]
    assert placement.size == (40, 28)
    np.testing.assert_allclose(placement.matrix @ [4, 10, 1], [0, 0, 1], atol=1e-5)
    np.testing.assert_allclose(placement.matrix @ [28, 34, 1], [24, 24, 1], atol=1e-5)


def test_no_target_may_lie_in_a_cropped_image(tmp_path: Path) -> None:
    Image.fromarray(framed(0)).save(tmp_path / "a.png")
    Image.fromarray((framed(0)[..., 0] > 100).astype(np.uint8)).save(tmp_path / "m.png")
    table = read_table({"photo": ["a.png"], "mask": ["m.png"]}, root=tmp_path)
    with pytest.raises(ColumnError, match="'crop_border' would shift the places of target 'mask'"):
        Processor.fit(table, config(targets={"mask": {"type": "segmentation"}}))
