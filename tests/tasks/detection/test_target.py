"""Boxes as targets: classes, places in the model's input, and what can't be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detection_pictures import write_pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.role import Role
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import Table, read_table
from polysense.data.target import TargetProcessor
from polysense.errors import ColumnError
from polysense.modalities.image.column import ImageColumnConfig
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.target import NUM_FIELDS, DetectionTargetConfig

SIZE = (32, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return write_pictures(folder, 12)


def fitted(table: Table, fit: Any = "pad", **settings: Any) -> tuple[Processor, DetectionTarget]:
    columns = {"photo": ImageColumnConfig(size=SIZE, fit=fit)}
    config = DataConfig(columns=columns, targets={"boxes": DetectionTargetConfig(**settings)})
    processor = Processor.fit(table, config)
    return processor, DetectionTarget.of(processor.schema.target("boxes"))


def test_classes_are_the_training_labels_and_an_empty_list_is_an_image_without_boxes(
    folder: Path, rows: list[dict[str, Any]]
) -> None:
    table = read_table(rows, root=folder)
    processor, target = fitted(table)
    assert target.classes == ("disk", "square")
    assert sum(target.class_counts) == sum(len(row["boxes"]) for row in rows)
    assert (target.num_rows, target.over, target.size) == (12, "photo", SIZE)
    empty = processor.transform(table, 0, with_targets=True).targets["boxes"]
    assert empty.shape == (0, NUM_FIELDS)
    for share, *corners in (box[1:] for box in target.usual_boxes):
        assert 0 < share <= 1
        assert 0 <= corners[0] < corners[2] <= 1
        assert 0 <= corners[1] < corners[3] <= 1


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_a_box_lies_where_its_thing_does(folder: Path, rows: list[dict[str, Any]], fit: str) -> None:
    table = read_table(rows, root=folder)
    processor, _ = fitted(table, fit)
    for i in range(12):
        sample = processor.transform(table, i, with_targets=True)
        light = sample.values["photo"][0][0].astype(int)  # things are yellow
        within = np.zeros(SIZE, dtype=bool)
        for *_, left, top, right, bottom in sample.targets["boxes"].tolist():
            within[round(top) : round(bottom), round(left) : round(right)] = True
        bright = light > 170
        assert (bright & ~within).sum() <= 0.06 * max(1, bright.sum())
        if within.any():
            assert light[within].mean() > 150 > light[~within].mean()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 11), st.sampled_from(["pad", "crop", "stretch"]))
def test_the_originals_are_whole_and_the_inputs_within(
    folder: Path, rows: list[dict[str, Any]], i: int, fit: str
) -> None:
    table = read_table(rows, root=folder)
    value = fitted(table, fit)[0].transform(table, i, with_targets=True).targets["boxes"]
    assert value[:, 3:7].tolist() == [box["box"] for box in rows[i]["boxes"]]
    assert (value[:, 7:] >= 0).all()
    assert (value[:, 7:] <= [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]).all()


def test_a_label_that_training_does_not_have_and_a_row_without_its_image(
    folder: Path, rows: list[dict[str, Any]]
) -> None:
    processor, target = fitted(read_table(rows, root=folder), classes=("disk", "square", "star"))
    assert target.class_counts[2] == 0
    cell = json.dumps([{"label": "moon", "box": [1, 2, 9, 9]}, {"label": "disk", "bbox": [1, 2, 8, 7], "iscrowd": 1}])
    table = read_table([{"photo": rows[1]["photo"], "boxes": cell}, {"photo": None, "boxes": cell}], root=folder)
    value = processor.transform(table, 0, with_targets=True).targets["boxes"]
    assert value[:, :2].tolist() == [[target.other, 0], [0, 1]]
    assert (value[:, 9] > value[:, 7]).all()
    alone = processor.transform(table, 1, with_targets=True).targets["boxes"]
    assert np.array_equal(alone[:, :7], value[:, :7])
    assert not alone[:, 7:].any()


def test_what_can_not_be_read_is_listed_with_its_row(folder: Path, rows: list[dict[str, Any]]) -> None:
    processor, _ = fitted(read_table(rows, root=folder))
    table = read_table([{"photo": rows[1]["photo"], "boxes": '[{"label": "disk", "box": [5, 5, 2, 9]}]'}], root=folder)
    sample = processor.transform(table, 0, with_targets=True)
    assert "boxes" not in sample.targets
    (cell,) = sample.unreadable
    assert "box 1 of 1: found the box [5, 5, 2, 9], which has no area" in cell.reason
    with pytest.raises(ColumnError, match="no training row has boxes that can be read; first"):
        fitted(table)


def test_boxes_beside_their_images_and_fractions_are_said(folder: Path, rows: list[dict[str, Any]]) -> None:
    beside = [*rows[:-1], {**rows[-1], "boxes": [{"label": "disk", "box": [500, 5, 520, 9]}]}]
    processor, _ = fitted(read_table(beside, root=folder))
    (warning,) = processor.targets["boxes"].warnings
    assert warning.startswith("1 of ")
    assert "boxes lie beside their images" in warning
    assert "row 11, column 'boxes': [500.0, 5.0, 520.0, 9.0] beside 64 x 64 pixels" in warning
    fractions = [{**row, "boxes": [{"label": "disk", "box": [0.1, 0.2, 0.5, 1.0]}]} for row in rows]
    with pytest.raises(ColumnError, match="seem to be fractions of the images' sizes; expected pixels: multiply"):
        fitted(read_table(fractions, root=folder))


def test_which_column_the_boxes_lie_in(folder: Path, rows: list[dict[str, Any]]) -> None:
    table = read_table(rows, root=folder)
    two = {name: ImageColumnConfig(column="photo", size=SIZE) for name in ("one", "two")}
    with pytest.raises(ColumnError, match="which input column do its boxes lie in"):
        Processor.fit(table, DataConfig(columns=two, targets={"boxes": DetectionTargetConfig()}))
    with pytest.raises(ColumnError, match="expected a column of images"):
        fitted(table, over="note")
    processor = Processor.fit(table, DataConfig(columns=two, targets={"boxes": DetectionTargetConfig(over="two")}))
    assert DetectionTarget.of(processor.schema.target("boxes")).over == "two"


@pytest.mark.parametrize("as_text", [False, True])
def test_boxes_are_recognized(folder: Path, rows: list[dict[str, Any]], as_text: bool) -> None:
    cells = [{**row, "boxes": json.dumps(row["boxes"]) if as_text else row["boxes"]} for row in rows]
    guess = next(each for each in infer(read_table(cells, root=folder), ["boxes"]) if each.name == "boxes")
    assert (guess.role, guess.task) == (Role.TARGET, "detection")


def test_saved_and_loaded_it_reads_the_same(folder: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = read_table(rows, root=folder)
    processor, target = fitted(table)
    processor.save(tmp_path)
    loaded = Processor.load(tmp_path)
    assert loaded.schema.target("boxes") == target
    values = [each.transform(table, 1, with_targets=True).targets["boxes"] for each in (loaded, processor)]
    assert np.array_equal(*values)
    restored = loaded.targets["boxes"]
    assert isinstance(restored, TargetProcessor)
    assert restored.class_names == target.classes
    assert restored.classes_of(np.array([[1.0] + [0.0] * 10, [2.0] + [0.0] * 10])) == [1]


@pytest.mark.parametrize("classes", [(), ("a", "a")])
def test_settings_that_contradict_themselves_are_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="classes: expected one or more different ones"):
        DetectionTargetConfig(classes=classes)
