"""Where an image's content lies is known all the way: from its own pixels to the encoder's, augmented, and back."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from PIL import Image

from polysense.core.batch import ColumnBatch
from polysense.core.geometry import Placement
from polysense.core.sample import Sample, SourceInfo
from polysense.core.schema import Schema
from polysense.data.augmentation.augment import augment
from polysense.data.augmentation.warp import warp
from polysense.data.batches.collate import collate
from polysense.data.column import ColumnProcessor
from polysense.data.media.pixels import Fit as ResizeFit
from polysense.data.media.pixels import Resize, to_original
from polysense.modalities.image.augment import ImageTransformConfig
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.image.record import ImageColumn

Fit = Callable[..., ColumnProcessor]
COLUMN = ImageColumn(name="photo", image_size=(48, 64), num_channels=1, mean=(0.5,), std=(0.3,))
SCHEMA = Schema(columns=(COLUMN,), targets=())
VOID = 255
PLAIN = ImageTransformConfig(brightness=0.0, contrast=0.0, erase_probability=0.0)
MOVES = {
    "turned": dataclasses.replace(PLAIN, rotate_degrees=60.0, scale=0.0, translate=0.0),
    "scaled": dataclasses.replace(PLAIN, rotate_degrees=0.0, scale=0.5, translate=0.0),
    "moved": dataclasses.replace(PLAIN, rotate_degrees=0.0, scale=0.0, translate=0.3),
    "mirrored": dataclasses.replace(PLAIN, rotate_degrees=0.0, scale=0.0, translate=0.0, flip=True),
    "everything": dataclasses.replace(PLAIN, rotate_degrees=30.0, scale=0.3, flip=True, probability=0.7),
}
FITS: tuple[ResizeFit, ...] = ("pad", "crop", "stretch")


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    """uint8 [height, width], light around a point."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(columns - x, rows - y)
    return (255 * np.clip(radius + 0.5 - distance, 0, 1)).astype(np.uint8)


def center(light: np.ndarray) -> np.ndarray:
    """(x, y) of the middle of what is light."""
    weights = light.astype(np.float64)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


def whole(matrix: np.ndarray, point: tuple[float, float], radius: float) -> bool:
    """Whether a disc comes to lie wholly within the input."""
    middle, reach = (matrix @ (*point, 1.0))[:2], np.abs(matrix[:2, :2]).sum(axis=1) * (radius + 1) + 1
    return bool(((middle > reach) & (middle < np.array([64, 48]) - reach)).all())


@pytest.mark.parametrize("mode", FITS)
@hypothesis.given(
    st.tuples(st.integers(40, 200), st.integers(40, 200)),
    st.floats(0.35, 0.65),
    st.floats(0.35, 0.65),
    st.integers(0, 2**30),
)
def test_a_point_of_the_original_is_followed_to_the_augmented_input(
    mode: ResizeFit, size: tuple[int, int], x: float, y: float, seed: int
) -> None:
    point, radius = (x * size[1], y * size[0]), min(size) / 8
    processor = ImageColumnConfig(size=COLUMN.image_size, fit=mode).build("photo")
    processor._column = dataclasses.replace(COLUMN, mean=(0.0,))
    cell = disc(*size, *point, radius)
    (item,), placement = processor.placed(cell, SourceInfo(table="t", row=0, column="photo"), Path())
    assert placement is not None
    assert placement.size == size
    if whole(placement.matrix, point, radius):
        assert np.abs(center(item[0]) - (placement.matrix @ (*point, 1.0))[:2]).max() < 0.3
    config = dataclasses.replace(MOVES["everything"], translate=0.05)
    transform = config.build(dataclasses.replace(COLUMN, mean=(0.0,)))
    batch = collate([Sample(row=3, values={"photo": [item]}, placements={"photo": placement})], SCHEMA)
    column = augment(batch, SCHEMA, {"photo": transform}, seed=seed, epoch=0).columns["photo"]
    assert column.geometry is not None
    assert column.sizes is not None
    assert column.sizes.tolist() == [[*size]]
    matrix = column.geometry[0].double().numpy()
    if whole(placement.matrix, point, radius) and whole(matrix, point, radius):
        expected = (matrix @ (*point, 1.0))[:2]
        assert np.abs(center(column.values[0, 0, 0].numpy()) - expected).max() < 0.4


@pytest.mark.parametrize("how", MOVES)
@hypothesis.given(st.integers(0, 2**30))
def test_a_mask_is_moved_as_its_image_is(how: str, seed: int) -> None:
    mask = (np.random.default_rng(seed).random((6, 8)) < 0.5).repeat(8, axis=0).repeat(8, axis=1)
    given = ColumnBatch(
        values=torch.from_numpy(mask * np.uint8(255))[None, None, None], lengths=torch.ones(1, 1).long()
    )
    column = MOVES[how].build(COLUMN)(given, np.array([3]), seed, 0)
    assert column.geometry is not None
    labels = warp(torch.from_numpy(mask * np.uint8(1))[None, None], column.geometry, nearest=True, fill=VOID)[0, 0]
    light = column.values[0, 0, 0]
    # An image is blended where edges are crossed; whatever is not has the label that lies there.
    inside = labels != VOID
    assert (labels[(light == 255) & inside] == 1).all()
    assert (labels[(light == 0) & inside] == 0).all()
    assert ((light == 255) | (light == 0)).float().mean() > 0.3
    x, y = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(48) + 0.5, indexing="xy")
    taken = torch.linalg.inv(column.geometry[0].double()) @ torch.stack([x, y, torch.ones_like(x)]).flatten(1).double()
    beyond = torch.stack([-taken[0], taken[0] - 64, -taken[1], taken[1] - 48]).amax(dim=0).view(48, 64)
    assert (labels[beyond > 1e-3] == VOID).all(), "what comes in from outside is nobody's"
    assert (labels[beyond < -1e-3] != VOID).all()


@pytest.mark.parametrize("mode", FITS)
@pytest.mark.parametrize("size", [(96, 128), (30, 41), (150, 60)])
def test_back_to_original_pixels_is_the_inverse(mode: ResizeFit, size: tuple[int, int]) -> None:
    resize = Resize(COLUMN.image_size, mode)
    rows, columns = np.mgrid[: size[0], : size[1]]
    mask = ((rows * 4 // size[0]) + 4 * (columns * 4 // size[1])).astype(np.uint8)
    small = resize.resized(mask, VOID)
    sample = Sample(row=3, values={"photo": [small[None]]}, placements={"photo": Placement(resize.matrix(*size), size)})
    batch = collate([sample], SCHEMA)
    transform = dataclasses.replace(MOVES["everything"], translate=0.0, probability=1.0).build(COLUMN)
    own = transform(dataclasses.replace(batch.columns["photo"], geometry=None), np.array([3]), 5, 0).geometry
    assert own is not None
    moved = warp(torch.from_numpy(small)[None, None], own, nearest=True, fill=VOID)[0, 0].numpy()
    for after, plane in (
        (batch, small),
        (augment(batch, SCHEMA, {"photo": transform}, seed=5, epoch=0), moved),
    ):
        located = after.located(torch.tensor([True]))["photo"]
        back = to_original(plane, located.matrices[0], size, fill=VOID)
        assert located.sizes.tolist() == [[*size]]
        known = back != VOID
        assert known.mean() > (0.15 if mode == "crop" else 0.6)
        assert (back == mask)[known].mean() > 0.85, "only edges between areas may differ"


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_original_pixels_undo_a_resize(fit: ResizeFit) -> None:
    ids = np.zeros((30, 50), dtype=np.uint8)
    ids[:, 25:], ids[20:, :10] = 1, 2
    resize = Resize((15, 15), fit)
    back = to_original(resize.resized(ids, fill=9), resize.matrix(*ids.shape), (30, 50), fill=9)
    assert back.shape == ids.shape
    seen = back != 9
    # Crop cuts ten columns off at either side; the others see all.
    assert np.array_equal(seen.all(axis=0), (np.arange(50) >= 10) & (np.arange(50) < 40) | (fit != "crop"))
    assert np.mean(back[seen] == ids[seen]) > 0.95


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_lies_where_the_whole_one_does(orientation: int, fit: Fit) -> None:
    """Its last pixels are fractions of a pixel, on the side that orientation turns them to."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    stored = disc(259, 515, 390.0, 200.0, 20.0)
    Image.fromarray(stored).save(file, "JPEG", quality=95, exif=exif)
    upright = np.array(Image.open(file).convert("L"))
    assert upright.shape == (259, 515)
    processor = fit(ImageColumnConfig(size=(30, 60), fit="stretch", channels=1), [file.getvalue()])
    (item,), placement = processor.placed(file.getvalue(), SourceInfo(table="t", row=0, column="c"), Path())
    assert placement is not None
    turned = orientation >= 5
    assert placement.size == ((515, 259) if turned else (259, 515))
    x, y = (390.0, 200.0) if not turned else (200.0, 390.0)
    height, width = placement.size
    if orientation in (2, 3, 6, 7):
        x = width - x
    if orientation in (3, 4, 7, 8):
        y = height - y
    expected = (placement.matrix @ (x, y, 1.0))[:2]
    assert np.abs(center(item[0]) - expected).max() < 0.06


def test_rows_are_moved_alike_in_any_company() -> None:
    generator = np.random.default_rng(0)
    samples = [
        Sample(
            row=row,
            values={"photo": [generator.integers(0, 256, (1, 48, 64), dtype=np.uint8)]},
            placements={"photo": Placement(Resize((48, 64)).matrix(20 + row, 50), (20 + row, 50))},
        )
        for row in range(12)
    ]
    transform = {"photo": MOVES["everything"].build(COLUMN)}
    whole = augment(collate(samples, SCHEMA), SCHEMA, transform, seed=1, epoch=2).columns["photo"]
    assert whole.geometry is not None
    for chosen in ([7], [4, 11, 0]):
        batch = collate([samples[i] for i in chosen], SCHEMA)
        part = augment(batch, SCHEMA, transform, seed=1, epoch=2).columns["photo"]
        assert part.geometry is not None
        assert torch.equal(part.geometry, whole.geometry[chosen])
        assert torch.equal(part.values, whole.values[chosen])


def test_a_cell_of_images_of_different_sizes_lies_in_no_one_way(fit: Fit) -> None:
    cells: list[object] = [[np.zeros((20, 30), np.uint8), np.zeros((40, 30), np.uint8)], np.zeros((20, 30), np.uint8)]
    processor = fit(ImageColumnConfig(size=(16, 16)), cells)
    samples = []
    for row, cell in enumerate([*cells, [cells[1], cells[1]], None]):
        items, placement = processor.placed(cell, SourceInfo(table="t", row=row, column="c"), Path())
        samples.append(Sample(row=row, values={"c": items} if items else {}))
        if placement is not None:
            samples[-1].placements["c"] = placement
    batch = collate(samples, Schema(columns=(processor.column,), targets=()))
    located = batch.located(torch.ones(4, dtype=torch.bool))["c"]
    assert np.isnan(located.matrices).all(axis=(1, 2)).tolist() == [True, False, False, False]
    assert located.sizes.tolist() == [[0, 0], [20, 30], [20, 30], [0, 0]]
    assert np.array_equal(located.matrices[3], np.eye(3))
