from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.config.codec import from_dict
from polysense.core.batch import ColumnBatch
from polysense.data.augmentation.base import TransformConfig
from polysense.errors import ConfigError
from polysense.modalities.image.augment import ImageTransformConfig
from polysense.modalities.image.record import ImageColumn

COLUMN = ImageColumn(
    name="photo",
    image_size=(20, 26),
    num_channels=3,
    mean=(0.2, 0.4, 0.6),
    std=(1.0, 1.0, 1.0),
)
STILL = {
    "rotate_degrees": 0.0,
    "scale": 0.0,
    "translate": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "erase_probability": 0.0,
}
rng = np.random.default_rng(0)
PIXELS = torch.from_numpy(rng.integers(0, 256, (30, 2, 3, 20, 26), dtype=np.uint8))
LENGTHS = torch.from_numpy(rng.integers(0, 2, (30, 2)))
ROWS = np.arange(100, 130)


def batch(chosen: list[int] | slice = slice(None)) -> ColumnBatch:
    return ColumnBatch(values=PIXELS[chosen].clone(), lengths=LENGTHS[chosen].clone())


def still(**changes: object) -> ImageTransformConfig:
    return ImageTransformConfig(**{**STILL, **changes})  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 29), min_size=1, max_size=30), st.integers(0, 2**60), st.integers(0, 99))
def test_a_row_is_varied_alike_in_any_company(chosen: list[int], seed: int, epoch: int) -> None:
    transform = ImageTransformConfig(
        flip=True, probability=0.9, saturation=0.5, hue_degrees=20.0, gray_probability=0.2
    ).build(COLUMN)
    whole = transform(batch(), ROWS, seed, epoch)
    part = transform(batch(chosen), ROWS[chosen], seed, epoch)
    assert torch.equal(part.values, whole.values[chosen])
    assert torch.equal(part.lengths, LENGTHS[chosen])


def test_an_item_does_not_depend_on_how_many_items_there_are() -> None:
    transform = ImageTransformConfig().build(COLUMN)
    one = ColumnBatch(values=PIXELS[:, :1], lengths=LENGTHS[:, :1])
    assert torch.equal(transform(one, ROWS, 1, 2).values[:, 0], transform(batch(), ROWS, 1, 2).values[:, 0])


def test_absent_pictures_stay_and_the_input_is_not_changed() -> None:
    before = batch()
    after = ImageTransformConfig().build(COLUMN)(before, ROWS, 0, 0)
    absent = LENGTHS == 0
    assert torch.equal(after.values[absent], PIXELS[absent])
    assert torch.equal(before.values, PIXELS)
    changed = (after.values != PIXELS).flatten(2).any(dim=2)
    assert torch.equal(changed, ~absent)
    nothing = ColumnBatch(values=PIXELS, lengths=torch.zeros_like(LENGTHS))
    assert torch.equal(ImageTransformConfig().build(COLUMN)(nothing, ROWS, 0, 0).values, PIXELS)


def test_seed_epoch_row_and_column_all_count() -> None:
    transform = ImageTransformConfig().build(COLUMN)
    twin = ImageTransformConfig().build(dataclasses.replace(COLUMN, name="photo2"))
    results = [
        transform(batch(), ROWS, 0, 0),
        transform(batch(), ROWS, 1, 0),
        transform(batch(), ROWS, 0, 1),
        transform(batch(), ROWS + 1, 0, 0),
        twin(batch(), ROWS, 0, 0),
    ]
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            assert not torch.equal(one.values, other.values)


@pytest.mark.parametrize("config", [ImageTransformConfig(probability=0.0, flip=True), still()])
def test_nothing_asked_for_is_the_identity(config: ImageTransformConfig) -> None:
    assert torch.equal(config.build(COLUMN)(batch(), ROWS, 3, 4).values, PIXELS)


def test_a_flip_mirrors_half_of_the_pictures() -> None:
    pixels = PIXELS.repeat(20, 1, 1, 1, 1)
    present = ColumnBatch(values=pixels, lengths=torch.ones(600, 2, dtype=torch.int64))
    found = still(flip=True).build(COLUMN)(present, np.arange(600), 0, 0).values.flatten(0, 1)
    mirrored = (found == pixels.flatten(0, 1).flip(-1)).flatten(1).all(dim=1)
    same = (found == pixels.flatten(0, 1)).flatten(1).all(dim=1)
    assert bool((mirrored ^ same).all())
    assert 0.44 < mirrored.float().mean() < 0.56  # four standard errors of 1,200 draws are 0.058


def test_a_turn_does_not_shear() -> None:
    """A disc in an oblong picture stays a disc, and its center stays at the same distance from the picture's."""
    y, x = torch.meshgrid(torch.arange(60), torch.arange(120), indexing="ij")
    disc = (((y - 30) ** 2 + (x - 75) ** 2) < 144).to(torch.uint8) * 255
    column = dataclasses.replace(COLUMN, num_channels=1, mean=(0.0,), std=(1.0,), image_size=(60, 120))
    images = ColumnBatch(values=disc.expand(40, 1, 1, 60, 120), lengths=torch.ones(40, 1, dtype=torch.int64))
    found = still(rotate_degrees=90.0).build(column)(images, np.arange(40), 0, 0).values[:, 0, 0].double()
    mass = found.sum(dim=(1, 2))
    center_x, center_y = (found * x).sum(dim=(1, 2)) / mass - 59.5, (found * y).sum(dim=(1, 2)) / mass - 29.5
    assert bool(((mass / disc.double().sum() - 1).abs() < 0.02).all())
    assert bool(((torch.hypot(center_x, center_y) - 15.5).abs() < 0.5).all())
    spread_x = (found * (x - 59.5 - center_x[:, None, None]) ** 2).sum(dim=(1, 2)) / mass
    spread_y = (found * (y - 29.5 - center_y[:, None, None]) ** 2).sum(dim=(1, 2)) / mass
    assert bool(((spread_x / spread_y - 1).abs() < 0.05).all())
    assert float(torch.atan2(center_y, center_x).abs().max()) > 1.2  # turned far, one way or the other


def test_what_comes_in_from_outside_has_the_mean_color() -> None:
    black = ColumnBatch(values=torch.zeros_like(PIXELS), lengths=torch.ones_like(LENGTHS))
    found = still(translate=0.5).build(COLUMN)(black, ROWS, 0, 0).values
    assert sorted(set(found[:, :, 2].flatten().tolist()) & {0, 153}) == [0, 153]  # 0.6 * 255
    assert set(found[:, :, 0].amax(dim=(2, 3)).flatten().tolist()) <= {0, *range(45, 52)}  # 0.2 * 255 = 51, or blended


def test_erasing_covers_the_asked_for_area() -> None:
    column = dataclasses.replace(COLUMN, image_size=(50, 50), num_channels=1, mean=(0.4,), std=(1.0,))
    white = ColumnBatch(
        values=torch.full((600, 1, 1, 50, 50), 255, dtype=torch.uint8), lengths=torch.ones(600, 1).long()
    )
    config = still(erase_probability=0.3, erase_max_area=0.2)
    found = config.build(column)(white, np.arange(600), 0, 0).values[:, 0, 0]
    assert set(found.unique().tolist()) == {102, 255}
    share = (found == 102).double().mean(dim=(1, 2))
    assert 0.22 < (share > 0).double().mean() < 0.38  # four standard errors are 0.075
    assert share[share > 0].min() > 0.01
    assert 0.17 < share.max() < 0.23  # a rectangle's sides are whole pixels


def test_light_stays_within_what_is_asked_for() -> None:
    gray = ColumnBatch(
        values=torch.full((400, 1, 3, 20, 26), 128, dtype=torch.uint8), lengths=torch.ones(400, 1).long()
    )
    bright = still(brightness=0.1).build(COLUMN)(gray, np.arange(400), 0, 0).values.double()
    assert bool((bright.amax(dim=(2, 3, 4)) == bright.amin(dim=(2, 3, 4))).all())
    assert 24 <= bright.max() - 128 <= 26
    assert 24 <= 128 - bright.min() <= 26
    stretched = still(contrast=0.2).build(COLUMN)(gray, np.arange(400), 0, 0).values[:, 0, 0].double() - 51
    assert 1.18 < stretched.max() / 77 < 1.21
    assert 1.18 < 77 / stretched.min() < 1.22


def luma(pixels: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bichw,c->bihw", pixels.double(), torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64))


def test_colors_change_and_light_does_not() -> None:
    pale = (PIXELS // 4 + 96).clone()  # nothing is cut off at black or white
    originals = ColumnBatch(values=pale, lengths=torch.ones_like(LENGTHS))
    found = still(hue_degrees=90.0, saturation=0.3).build(COLUMN)(originals, ROWS, 0, 0).values
    assert (found.float() - pale.float()).abs().mean() > 5
    assert (luma(found) - luma(pale)).abs().max() < 1.01  # rounding of three channels, and of the coefficients
    gray = originals.values.float().mean(dim=2, keepdim=True).to(torch.uint8).expand_as(pale).contiguous()
    same = still(hue_degrees=90.0, saturation=0.3).build(COLUMN)(
        ColumnBatch(values=gray, lengths=originals.lengths), ROWS, 0, 0
    )
    assert (same.values.int() - gray.int()).abs().max() <= 1


def test_colors_are_taken_from_as_many_pictures_as_asked() -> None:
    originals = ColumnBatch(values=PIXELS, lengths=torch.ones_like(LENGTHS))
    found = still(gray_probability=0.5).build(COLUMN)(originals, ROWS, 0, 0).values.int()
    spread = (found.amax(dim=2) - found.amin(dim=2)).flatten(2).amax(dim=2)
    assert 0.3 < (spread <= 1).float().mean() < 0.7
    untouched = spread > 1
    assert torch.equal(found[untouched], PIXELS.int()[untouched])


def test_a_hue_turned_by_a_third_moves_red_towards_green() -> None:
    red = torch.zeros(400, 1, 3, 4, 4, dtype=torch.uint8)
    red[:, :, 0] = 200
    batch = ColumnBatch(values=red, lengths=torch.ones(400, 1, dtype=torch.int64))
    found = still(hue_degrees=180.0).build(COLUMN)(batch, np.arange(400), 0, 0).values[:, 0, :, 0, 0]
    for channel in range(3):  # somewhere on the wheel each channel is the strongest
        assert (found.argmax(dim=1) == channel).float().mean() > 0.15


def test_gray_pictures_have_no_color_to_change() -> None:
    column = dataclasses.replace(COLUMN, num_channels=1, mean=(0.5,), std=(1.0,))
    gray = ColumnBatch(values=PIXELS[:, :, :1], lengths=LENGTHS)
    transform = still(hue_degrees=90.0, saturation=0.5, gray_probability=1.0).build(column)
    assert torch.equal(transform(gray, ROWS, 0, 0).values, gray.values)


@pytest.mark.parametrize(
    ("key", "value"),
    [("probability", 1.5), ("rotate_degrees", -1.0), ("scale", -0.1), ("translate", 2.0), ("erase_max_area", -1.0)],
)
def test_a_setting_out_of_range_is_named(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{key}.*found {value}"):
        ImageTransformConfig(**{key: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=key):
        from_dict(TransformConfig, {"type": "image", key: value})  # type: ignore[type-abstract]


def test_the_geometry_says_where_a_point_comes_to_lie() -> None:
    column = dataclasses.replace(COLUMN, image_size=(60, 80), num_channels=1, mean=(0.0,), std=(1.0,))
    config = ImageTransformConfig(
        rotate_degrees=25.0, scale=0.2, flip=True, brightness=0.0, contrast=0.0, erase_probability=0.0, probability=0.8
    )
    pixels = torch.zeros(40, 1, 1, 60, 80, dtype=torch.uint8)
    pixels[:, :, :, 25:29, 45:49] = 255  # its middle is the point (47, 27)
    given = ColumnBatch(values=pixels, lengths=torch.ones(40, 1, dtype=torch.int64))
    augmented = config.build(column)(given, np.arange(40), seed=1, epoch=0)
    assert augmented.geometry is not None
    light = augmented.values[:, 0, 0].float()
    weight = light.sum(dim=(1, 2))
    x = (light.sum(dim=1) * (torch.arange(80) + 0.5)).sum(dim=1) / weight
    y = (light.sum(dim=2) * (torch.arange(60) + 0.5)).sum(dim=1) / weight
    expected = augmented.geometry @ torch.tensor([47.0, 27.0, 1.0])
    torch.testing.assert_close(torch.stack([x, y], dim=1), expected[:, :2], rtol=0, atol=0.3)
    assert (augmented.geometry == torch.eye(3)).all(dim=(1, 2)).any(), "what is not varied stays where it was"
    half = dataclasses.replace(given, values=pixels[::2], lengths=given.lengths[::2])
    again = config.build(column)(half, np.arange(0, 40, 2), seed=1, epoch=0)
    assert torch.equal(again.geometry, augmented.geometry[::2])  # type: ignore[arg-type]


def test_images_of_a_cell_that_move_apart_have_no_common_geometry() -> None:
    column = dataclasses.replace(COLUMN, image_size=(20, 20), num_channels=1, mean=(0.0,), std=(1.0,))
    given = ColumnBatch(
        values=torch.zeros(3, 2, 1, 20, 20, dtype=torch.uint8), lengths=torch.ones(3, 2, dtype=torch.int64)
    )
    rows = np.arange(3)
    given.lengths[2, 1] = 0
    apart = ImageTransformConfig().build(column)(given, rows, 0, 0).geometry
    assert apart is not None
    assert apart.isnan().all(dim=(1, 2)).tolist() == [True, True, False], "a single image lies somewhere"
    together = ImageTransformConfig(together=True).build(column)(given, rows, 0, 0).geometry
    assert together is not None
    assert together.shape == (3, 3, 3)
