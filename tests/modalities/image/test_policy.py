from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.image.augment import ImageTransformConfig
from polysense.modalities.image.policy import _ALL, _CHANGES, COLORING, MOVING, Operation, PolicyConfig, PolicyDraws
from polysense.modalities.image.record import ImageColumn

COLUMN = ImageColumn(name="photo", image_size=(24, 32), num_channels=3, mean=(0.2, 0.4, 0.6), std=(1.0, 1.0, 1.0))
rng = np.random.default_rng(0)
SMOOTH = np.clip(np.cumsum(rng.normal(0, 6, (6, 24, 32, 3)), axis=1) + 110, 0, 255).astype(np.uint8)
PIXELS = torch.from_numpy(SMOOTH.transpose(0, 3, 1, 2).copy())
STILL = ImageTransformConfig(
    rotate_degrees=0.0, scale=0.0, translate=0.0, brightness=0.0, contrast=0.0, erase_probability=0.0
)


def only(operation: Operation, magnitude: float = 9.0, operations: int = 1) -> PolicyConfig:
    return PolicyConfig(operations=operations, magnitude=magnitude, choices=(operation,))


def pillow(operation: Operation, image: Image.Image, strength: float, sign: float) -> Image.Image:
    enhancers = {
        "color": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "brightness": ImageEnhance.Brightness,
        "sharpness": ImageEnhance.Sharpness,
    }
    if operation in enhancers:
        return enhancers[operation](image).enhance(1 + 0.9 * strength * sign)
    if operation == "posterize":
        return ImageOps.posterize(image, 8 - round(4 * strength))
    if operation == "solarize":
        return ImageOps.solarize(image, round(256 * (1 - strength)))
    return {"autocontrast": ImageOps.autocontrast, "equalize": ImageOps.equalize}[operation](image)


@pytest.mark.parametrize("operation", COLORING)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [0.0, 3.0, 9.0, 10.0])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_colors_change_as_pillow_changes_them(
    operation: Operation, channels: int, magnitude: float, sign: float
) -> None:
    given = PIXELS[:, :channels]
    changed = _CHANGES[operation](given, magnitude / 10, np.full(len(given), sign))
    assert changed.dtype == torch.uint8
    for one, other in zip(given, changed, strict=True):
        image = Image.fromarray(one[0].numpy() if channels == 1 else one.permute(1, 2, 0).numpy())
        expected = np.atleast_3d(np.array(pillow(operation, image, magnitude / 10, sign))).transpose(2, 0, 1)
        assert np.abs(other.numpy().astype(int) - expected.astype(int)).max() <= 1, operation
    assert torch.equal(PIXELS[:, :channels], given)


@pytest.mark.parametrize("operation", COLORING)
def test_images_of_one_color_and_of_one_pixel_have_nothing_to_stretch(operation: Operation) -> None:
    flat = torch.cat([torch.full((1, 3, 1, 1), level, dtype=torch.uint8) for level in (0, 7, 255)])
    changed = _CHANGES[operation](flat, 0.0, np.ones(3))
    expected = flat.clone()
    if operation == "solarize":
        expected = flat  # a threshold of 256 inverts nothing
    assert torch.equal(changed, expected)


def test_every_operation_is_of_one_sort() -> None:
    assert set(_ALL) == {"identity", *COLORING, *MOVING}
    assert set(_CHANGES) == set(COLORING)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.integers(0, 2**40),
    st.integers(0, 99),
    st.floats(0, 10),
    st.integers(1, 4),
)
def test_an_image_is_changed_alike_in_any_company(
    chosen: list[int], seed: int, epoch: int, magnitude: float, operations: int
) -> None:
    config = dataclasses.replace(
        STILL, policy=PolicyConfig(operations=operations, magnitude=magnitude), crop_area=(0.3, 1.0), probability=0.9
    )
    transform, rows = config.build(COLUMN), np.arange(6) * 3
    lengths = torch.tensor([1, 1, 0, 1, 1, 1])[:, None]
    whole = transform(ColumnBatch(values=PIXELS[:, None], lengths=lengths), rows, seed, epoch)
    part = transform(ColumnBatch(values=PIXELS[chosen, None], lengths=lengths[chosen]), rows[chosen], seed, epoch)
    assert torch.equal(part.values, whole.values[chosen])
    assert torch.equal(whole.values[2, 0], PIXELS[2]), "what is absent stays as it is"
    assert part.geometry is not None
    assert whole.geometry is not None
    assert torch.equal(part.geometry, whole.geometry[chosen])


@pytest.mark.parametrize("operation", MOVING)
def test_the_geometry_says_where_a_policy_moves_a_point(operation: Operation) -> None:
    column = dataclasses.replace(COLUMN, image_size=(60, 80), num_channels=1, mean=(0.0,), std=(1.0,))
    config = dataclasses.replace(STILL, policy=only(operation, 5.0, operations=2), crop_area=(0.7, 1.0))
    pixels = torch.zeros(40, 1, 1, 60, 80, dtype=torch.uint8)
    pixels[:, :, :, 28:32, 38:42] = 255  # its middle is the point (40, 30)
    moved = config.build(column)(ColumnBatch(values=pixels, lengths=torch.ones(40, 1).long()), np.arange(40), 1, 0)
    assert moved.geometry is not None
    light = moved.values[:, 0, 0].float()
    weight = light.sum(dim=(1, 2))
    x = (light.sum(dim=1) * (torch.arange(80) + 0.5)).sum(dim=1) / weight
    y = (light.sum(dim=2) * (torch.arange(60) + 0.5)).sum(dim=1) / weight
    to = (moved.geometry @ torch.tensor([40.0, 30.0, 1.0]))[:, :2]
    inside = (to > 5).all(dim=1) & (to[:, 0] < 75) & (to[:, 1] < 55)
    assert int(inside.sum()) > 8
    torch.testing.assert_close(torch.stack([x, y], dim=1)[inside], to[inside], rtol=0, atol=0.4)


def test_a_crop_keeps_the_part_that_it_was_asked_to_keep() -> None:
    config = dataclasses.replace(STILL, crop_area=(0.25, 0.5), crop_stretch=1.5)
    sources = config.build(COLUMN)._sources(rng.random((500, 20)), 24, 32)
    area, stretch = sources[:, 0, 0] * sources[:, 1, 1], sources[:, 0, 0] / sources[:, 1, 1]
    assert 0.25 <= area.min() < 0.26
    assert 0.49 < area.max() <= 0.5 + 1e-9
    assert 1 / 1.5 - 1e-9 <= stretch.min() < 0.68
    assert 1.47 < stretch.max() <= 1.5 + 1e-9
    corners = sources @ np.array([[0, 0, 1], [32, 24, 1.0]]).T
    assert corners[:, 0].min() >= -1e-9, "a crop lies within its image"
    assert corners[:, 0].max() <= 32 + 1e-9
    assert corners[:, 1].max() <= 24 + 1e-9


def test_operations_are_drawn_alike_often_and_go_both_ways() -> None:
    draws = PolicyDraws(PolicyConfig(operations=2), rng.random((7000, 4)))
    counts = np.bincount(draws._which.flatten(), minlength=len(_ALL))
    assert np.abs(counts / 1000 - 1).max() < 0.15  # four standard errors are 0.12
    assert abs(draws._sign.mean()) < 0.05


@pytest.mark.parametrize("choices", [(), ("color", "color")])
def test_choices_are_at_least_one_and_each_once(choices: tuple[Operation, ...]) -> None:
    with pytest.raises(ConfigError, match=r"policy.choices.*at least one, each once"):
        PolicyConfig(choices=choices)


@pytest.mark.parametrize("area", [(0.0, 1.0), (0.5, 0.2), (0.5, 1.5)])
def test_an_area_that_is_none_is_named(area: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"image.crop_area"):
        ImageTransformConfig(crop_area=area)
