"""Masks as targets: classes, void, sizes, and what can't be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segmentation_pictures import as_png, segments_of, write_pictures

from polysense.core.role import Role
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import Table, read_table
from polysense.data.target import TargetProcessor
from polysense.errors import ColumnError
from polysense.modalities.image.column import ImageColumnConfig
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.tasks.segmentation.target import SegmentationTargetConfig

SIZE = (16, 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return write_pictures(folder, 12)


def fitted(table: Table, fit: Any = "pad", **settings: Any) -> tuple[Processor, SegmentationTarget]:
    columns = {"photo": ImageColumnConfig(size=SIZE, fit=fit)}
    config = DataConfig(columns=columns, targets={"mask": SegmentationTargetConfig(**settings)})
    processor = Processor.fit(table, config)
    return processor, SegmentationTarget.of(processor.schema.target("mask"))


def plane(processor: Processor, table: Table, i: int = 0) -> np.ndarray:
    sample = processor.transform(table, i, with_targets=True)
    assert not sample.unreadable, sample.unreadable
    return sample.targets["mask"]


def test_classes_are_the_values_and_255_is_void(folder: Path, rows: list[dict[str, Any]]) -> None:
    _, target = fitted(read_table(rows, root=folder))
    assert target.classes == ("0", "3", "9")
    assert target.values == (0, 3, 9)
    assert target.void_value == 255
    assert target.class_counts == (12, 12, 12)
    assert sum(target.class_shares) == pytest.approx(1)
    assert target.class_shares[0] > 0.5
    assert (target.over, target.size) == ("photo", SIZE)


def test_a_recipe_names_classes_and_what_is_void(folder: Path, rows: list[dict[str, Any]]) -> None:
    table = read_table(rows, root=folder)
    processor, target = fitted(table, classes=(9, 3), names=("right", "left"), void=(0,))
    assert target.classes == ("right", "left")
    assert target.values == (9, 3)
    first = plane(processor, table, 1)
    assert set(np.unique(first)) == {0, 1, target.other, target.void}  # 255 is a value that is not named
    _, all_classes = fitted(table, void=())
    assert all_classes.classes == ("0", "3", "9", "255")


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_a_mask_lies_where_its_image_does(folder: Path, rows: list[dict[str, Any]], fit: str) -> None:
    table = read_table(rows, root=folder)
    processor, target = fitted(table, fit)
    for i in range(0, 12, 2):  # those without void edges
        sample = processor.transform(table, i, with_targets=True)
        mask, light = sample.targets["mask"], sample.values["photo"][0].mean(axis=0)
        assert mask.shape == SIZE
        assert mask.dtype == np.uint8
        things = light[(mask == 1) | (mask == 2)]
        assert np.median(things) > 150
        assert np.median(light[mask == 0]) < 130
        padded = fit == "pad" and i % 3 < 2  # the third size has the shape that is asked for
        assert (mask == target.void).any() == padded


def test_polygons_and_files_give_one_mask(folder: Path, rows: list[dict[str, Any]]) -> None:
    files = read_table([{"photo": row["photo"], "mask": row["mask"]} for row in rows[::2]], root=folder)
    polygons = read_table([{"photo": row["photo"], "mask": segments_of(row)} for row in rows[::2]], root=folder)
    one, _ = fitted(files)
    other, target = fitted(polygons)
    assert target.classes == ("background", "left", "right")
    assert target.values == (0, 1, 2)
    for i in range(len(files)):
        assert np.array_equal(plane(one, files, i), plane(other, polygons, i))


def test_a_class_that_training_does_not_know_is_not_void(folder: Path, rows: list[dict[str, Any]]) -> None:
    processor, target = fitted(read_table(rows, root=folder))
    odd = np.full((24, 32), 7, dtype=np.uint8)
    odd[:, :16] = 255
    table = read_table([{"photo": rows[0]["photo"], "mask": as_png(odd)}], root=folder)
    assert set(np.unique(plane(processor, table))) == {target.other, target.void}


def test_a_mask_stands_without_its_image(folder: Path, rows: list[dict[str, Any]]) -> None:
    table = read_table(rows, root=folder)
    processor, _ = fitted(table)
    alone = read_table([{"photo": None, "mask": rows[0]["mask"]}], root=folder)
    assert np.array_equal(plane(processor, alone), plane(processor, table))


def test_another_size_than_the_image_is_listed(folder: Path, rows: list[dict[str, Any]]) -> None:
    processor, _ = fitted(read_table(rows, root=folder))
    table = read_table([{"photo": rows[0]["photo"], "mask": rows[1]["mask"]}], root=folder)
    sample = processor.transform(table, 0, with_targets=True)
    assert "mask" not in sample.targets
    (cell,) = sample.unreadable
    assert "has 30 x 36 pixels, expected 32 x 24 as its image in 'photo'" in cell.reason


def test_saved_and_loaded_it_reads_the_same(folder: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = read_table(rows, root=folder)
    processor, target = fitted(table, classes=(9, 3), names=("right", "left"))
    processor.save(tmp_path)
    loaded = Processor.load(tmp_path)
    assert loaded.schema.target("mask") == target
    assert np.array_equal(plane(loaded, table, 1), plane(processor, table, 1))
    assert isinstance(loaded.targets["mask"], TargetProcessor)


@pytest.mark.parametrize(
    ("cells", "settings", "message"),
    [
        (["nowhere.png"], {}, "no training row has a mask that can be read; first .*no such file"),
        ([as_png(np.zeros((24, 32), np.uint8))], {}, "found 1 classes in 1 masks"),
        ([as_png(np.zeros((24, 32), np.uint8))], {"classes": (4, 5)}, "holds one of the classes 4, 5"),
        ([as_png(np.zeros((24, 32), np.uint8))], {"over": "note"}, "'note', no input column; expected a column of"),
    ],
)
def test_what_can_not_be_learned_is_said(
    folder: Path, rows: list[dict[str, Any]], cells: list[object], settings: dict[str, Any], message: str
) -> None:
    table = read_table([{"photo": rows[0]["photo"], "mask": cell} for cell in cells], root=folder)
    with pytest.raises(ColumnError, match=message):
        fitted(table, **settings)


@pytest.mark.parametrize("settings", [{"classes": (1,)}, {"classes": (1, 1)}, {"names": ("a",)}])
def test_settings_that_contradict_themselves_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"classes: expected two|names: found 1"):
        SegmentationTargetConfig(**settings)


@pytest.mark.parametrize("form", ["paths", "bytes", "polygons"])
def test_masks_are_recognized(folder: Path, rows: list[dict[str, Any]], form: str) -> None:
    cells = {
        "paths": lambda row: row["mask"],
        "bytes": lambda row: (folder / row["mask"]).read_bytes(),
        "polygons": segments_of,
    }
    table = read_table([{"photo": row["photo"], "mask": cells[form](row)} for row in rows], root=folder)
    guess = infer(table, ["mask"])[1]
    assert (guess.role, guess.task) == (Role.TARGET, "segmentation")


def test_photos_are_no_masks(folder: Path, rows: list[dict[str, Any]]) -> None:
    pairs = [{"photo": row["photo"], "other": other["photo"]} for row, other in zip(rows, rows[::-1], strict=True)]
    assert infer(read_table(pairs, root=folder), ["other"])[1].task != "segmentation"
