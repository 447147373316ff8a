"""COCO, YOLO and PASCAL VOC: one picture's boxes in each of them are the same boxes; what is broken is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import polysense
from polysense.data.importing import named_split
from polysense.errors import TableError
from polysense.tasks.detection.boxes import read_boxes

WIDTH, HEIGHT = 40, 30
BOXES = [("cat", [4, 6, 14, 26]), ("wild dog", [20, 0, 40, 15])]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(path)


def coco(folder: Path, **changes: Any) -> dict[str, Any]:
    picture(folder / "train2017" / "a.png")
    picture(folder / "train2017" / "b.png")
    annotations = [
        {
            "id": place, "image_id": 7, "category_id": 3 + 4 * place, "area": 50.0, "iscrowd": place,
            "bbox": [left, top, right - left, bottom - top],
            "segmentation": [[left, top, right, top, right, bottom]] if place == 0 else {"size": [1, 1], "counts": [1]},
        }
        for place, (_, (left, top, right, bottom)) in enumerate(BOXES)
    ]  # fmt: skip
    content = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "wild dog"}],
        "annotations": annotations,
        **changes,
    }
    path = folder / "annotations" / "instances_train2017.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return content


def yolo(folder: Path) -> None:
    for name in ("a", "b"):
        picture(folder / "images" / "train" / f"{name}.png")
    lines = [
        f"{2 * place} {(left + right) / 2 / WIDTH} {(top + bottom) / 2 / HEIGHT} {(right - left) / WIDTH} "
        f"{(bottom - top) / HEIGHT}"
        for place, (_, (left, top, right, bottom)) in enumerate(BOXES)
    ]
    labels = folder / "labels" / "train" / "a.txt"
    labels.parent.mkdir(parents=True)
    labels.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "data.yaml").write_text("train: images/train\nnames: {0: cat, 2: wild dog}\n", encoding="utf-8")


def voc(folder: Path) -> None:
    for name in ("a", "b"):
        picture(folder / "JPEGImages" / f"{name}.png")
        objects = "".join(
            f"<object><name>{label}</name><difficult>{place}</difficult><bndbox><xmin>{left + 1}</xmin>"
            f"<ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            for place, (label, (left, top, right, bottom)) in enumerate(BOXES)
            if name == "a"
        )
        path = folder / "Annotations" / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"<annotation><filename>{name}.png</filename>{objects}</annotation>", encoding="utf-8")
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("a\nb\n", encoding="utf-8")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("write", [coco, yolo, voc])
def test_the_same_boxes_come_out_of_every_format(write: Callable[[Path], object], suffix: str, tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "tables" / f"table{suffix}"
    source.mkdir()
    write(source)
    result = polysense.api.convert(source, output)
    assert (result.format, result.num_rows, result.missing) == (write.__name__, 2, ())
    from polysense.data.tables.sources import read_table

    table = read_table(output)
    assert len(table) == 2
    for row, (name, expected) in enumerate((("a.png", BOXES), ("b.png", []))):
        assert (output.parent / str(table.cell(row, "image"))).resolve().name == name
        assert (output.parent / str(table.cell(row, "image"))).is_file()
        assert table.cell(row, "split") == "train"
        boxes = read_boxes(table.cell(row, "objects", literal=True))
        assert list(boxes.labels) == [label for label, _ in expected]
        assert boxes.corners.round(2).tolist() == [corners for _, corners in expected]
        if row == 0:
            assert boxes.kinds.tolist() == {"coco": [0, 1], "yolo": [0, 0], "voc": [0, 2]}[result.format]


def test_segments_captions_and_areas_of_coco_stand_in_one_row(tmp_path: Path) -> None:
    coco(tmp_path)
    captions = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "caption": " a cat "}, {"image_id": 1, "caption": "a dog"}],
    }
    (tmp_path / "annotations" / "captions_train2017.json").write_text(json.dumps(captions), encoding="utf-8")
    result = polysense.api.convert(tmp_path, tmp_path / "t.jsonl")
    assert set(result.columns) == {"image", "split", "objects", "segments", "captions"}
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    (row,) = [row for row in rows if row["image"] == "train2017/a.png"]
    assert row["captions"] == ["a cat", "a dog"]
    assert row["objects"][0]["area"] == 50
    assert [set(each) for each in row["segments"]] == [{"label", "polygon", "area"}, {"label", "rle", "area", "crowd"}]
    assert row["segments"][1]["crowd"] is True


def test_polygons_of_yolo_have_their_boxes(tmp_path: Path) -> None:
    yolo(tmp_path)
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.1 0.2 0.35 0.2 0.2 0.8\n", encoding="utf-8")
    polysense.api.convert(tmp_path, tmp_path / "t.jsonl")
    row = json.loads((tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()[0])
    (box,) = row["objects"]
    assert box["label"] == "cat"
    assert box["box"] == [4, 6, 14, 24]
    assert box["polygon"] == [4, 6, 14, 6, 8, 24]


def test_where_nobody_has_looked_the_cell_is_missing_and_not_an_image_that_shows_nothing(tmp_path: Path) -> None:
    yolo(tmp_path)
    picture(tmp_path / "images" / "test" / "c.png")
    polysense.api.convert(tmp_path, tmp_path / "t.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    objects = {Path(row["image"]).name: (row["split"], row["objects"]) for row in rows}
    assert objects["b.png"] == ("train", [])
    assert objects["c.png"] == ("test", None)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017", "train"), ("val", "validation"), ("valid", "validation"), ("my-test-2", "test"),
        ("trains", None), ("valley", None), ("latest", None), ("train_test", None), ("images", None),
    ],
)  # fmt: skip
def test_a_split_is_a_word_of_its_own(name: str, split: str | None) -> None:
    assert named_split(name) == split


def test_an_image_that_is_not_there_is_said_and_kept(tmp_path: Path) -> None:
    coco(tmp_path)
    (tmp_path / "train2017" / "b.png").unlink()
    result = polysense.api.convert(tmp_path, tmp_path / "t.jsonl")
    assert result.num_rows == 2
    (message,) = result.missing
    assert message.endswith("b.png is not there")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 3}, "has no list of images"),
        ({"images": [{"id": 1}], "annotations": []}, "images, entry 0: found .* expected id and file_name"),
        ({"images": [{"id": 1, "file_name": "a"}] * 2, "annotations": []}, "the id 1 is another image's, too"),
        ({"categories": [{"id": 3}]}, "categories, entry 0: found .* expected id and name"),
        ({"categories": [{"id": 3, "name": "cat"}]}, "entry 1: its category_id is 7, expected one of the categories"),
        ({"images": [{"id": 9, "file_name": "b.png"}]}, "annotations, entry 0: its image_id is 7"),
        ({"annotations": [4]}, "its annotations are .* expected a list of objects"),
    ],
)
def test_broken_annotations_of_coco_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    coco(tmp_path, **changes)
    with pytest.raises(TableError, match=message):
        polysense.api.convert(tmp_path, tmp_path / "t.jsonl", format="coco")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "line 1: found 3 numbers, expected 4 of a box"),
        ("1 0.5 0.5 0.5 0.5", "line 1: found class 1, expected one of the 2 that are named"),
        ("cat 0.5 0.5 0.5 0.5", "expected a class's number and fractions"),
        ("0 20 20 10 10", "expected fractions of the image's width and height"),
        ("0 nan 0.5 0.5 0.5", "expected fractions"),
    ],
)
def test_broken_labels_of_yolo_are_named(line: str, message: str, tmp_path: Path) -> None:
    yolo(tmp_path)
    (tmp_path / "labels" / "train" / "a.txt").write_text(line, encoding="utf-8")
    with pytest.raises(TableError, match=message):
        polysense.api.convert(tmp_path, tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object/></annotation>", "object 1: has no name"),
        ("<annotation><object><name>a</name></object></annotation>", "its xmin is '', expected a number of pixels"),
        ("<annotation>", "is not valid XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "declares a document type or entities"),
    ],
)
def test_broken_annotations_of_voc_are_named(text: str, message: str, tmp_path: Path) -> None:
    voc(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=message):
        polysense.api.convert(tmp_path, tmp_path / "t.jsonl", format="voc")


def test_what_is_no_known_format_is_said(tmp_path: Path) -> None:
    for source, options, message in (
        (tmp_path, {}, "is no format that is known; say which with --format \\(coco, voc, yolo\\)"),
        (tmp_path, {"format": "pascal"}, "no importer is named 'pascal'"),
        (tmp_path / "nowhere", {}, "no such file or folder"),
        (tmp_path, {"format": "yolo"}, "nothing names the classes"),
        (tmp_path, {"format": "voc"}, "holds no row that voc knows"),
    ):
        with pytest.raises(TableError, match=message):
            polysense.api.convert(source, tmp_path / "t.jsonl", **options)
    with pytest.raises(TableError, match="expected a table's name that ends in"):
        polysense.api.convert(tmp_path, tmp_path / "t.txt")


def test_photographs_of_coco(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """The boxes of coco_mini's JSON files are those of its table."""
    folder = real_data("coco_mini")
    expected = {}
    for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        expected[Path(row["image"]).name] = sorted((each["label"], *each["box"]) for each in row["objects"])
    result = polysense.api.convert(folder, tmp_path / "t.jsonl")
    assert result.missing == ()
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == len(expected) == 256
    assert {row["split"] for row in rows} == {"train", "test"}
    for row in rows:
        boxes = read_boxes(row["objects"])
        own = sorted(
            (label, *corners) for label, corners in zip(boxes.labels, boxes.corners.round(1).tolist(), strict=True)
        )
        for one, other in zip(own, expected[Path(row["image"]).name], strict=True):
            assert one[0] == other[0]
            assert one[1:] == pytest.approx(other[1:], abs=0.11)
