"""Detections as COCO's results and as pictures; what can't be exported is refused before anything is predicted."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import polysense
from polysense.core.geometry import Geometry
from polysense.core.schema import Schema
from polysense.data.exporting import exporters_of, opened_exports
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, TableError
from polysense.tasks.detection.record import DetectionTarget

TARGET = DetectionTarget(
    name="boxes", columns=("boxes",), num_rows=3, classes=("cat", "dog"), class_counts=(1, 1), over="photo",
    size=(32, 32), written_score=0.3,
)  # fmt: skip
SCHEMA = Schema(columns=(), targets=(TARGET,))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Two photos of 64 x 32 pixels, and a row without one."""
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((32, 64, 3), 90, dtype=np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    return polysense.read_table([{"photo": "photos/a.png"}, {"photo": None}, {"photo": "photos/b.png"}], root=tmp_path)


def export(table: Table, exports: Mapping[str | Path, Any]) -> None:
    """Two detections in each row, in an input that is half as wide as the photo; the last rows come first."""
    values = np.tile(np.array([[1, 4, 8, 20, 24, 0.9], [0, 0, 0, 32, 32, 0.1], [0] * 6]), (3, 1, 1)).astype(np.float32)
    matrices = np.tile(np.diag([0.5, 1.0, 1.0]).astype(np.float32), (3, 1, 1))
    sizes = np.array([[32, 64], [0, 0], [32, 64]])
    with opened_exports(exporters_of(exports, SCHEMA), {"photo": "photo"}) as opened:
        for rows in (np.array([1, 2]), np.array([0])):
            for each in opened["boxes"]:
                each.add({"values": values[rows]}, table.select(rows), {"photo": Geometry(matrices, sizes)[rows]})


def test_all_detections_are_there_in_the_tables_order(table: Table, tmp_path: Path) -> None:
    export(table, {tmp_path / "r.json": "coco"})
    entries = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [(each["image_id"], each["category_id"], each["label"], each["file_name"]) for each in entries] == [
        (0, 2, "dog", "a.png"), (0, 1, "cat", "a.png"), (2, 2, "dog", "b.png"), (2, 1, "cat", "b.png")
    ]  # fmt: skip
    assert entries[0]["bbox"] == [8.0, 8.0, 32.0, 16.0]
    assert entries[0]["score"] == pytest.approx(0.9)


def test_numbers_are_those_of_an_annotation_file(
    table: Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotations = tmp_path / "instances.json"
    content: dict[str, Any] = {
        "images": [{"id": 77, "file_name": "train/a.png"}], "categories": [{"id": 18, "name": "dog"}],
    }  # fmt: skip
    annotations.write_text(json.dumps(content), encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="polysense.export"):
        export(table, {tmp_path / "r.json": {"type": "coco", "annotations": str(annotations)}})
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == [
        {"image_id": 77, "category_id": 18, "bbox": [8.0, 8.0, 32.0, 16.0], "score": 0.9}
    ]
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "no categories for the classes cat" in said
    assert "no image named b.png" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "has no list of images"),
        ('{"images": [{"id": 1}]}', "images, entry 0: found .*, expected id and file_name"),
        ('{"images": [{"id": 1, "file_name": "x/a"}, {"id": 2, "file_name": "y/a"}]}', "two are named 'a'"),
        ('{"images": [], "categories": []}', "has none of the model's classes"),
    ],
)
def test_a_broken_annotation_file_is_named(table: Table, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(TableError, match=rf"broken\.json.*{message}"):
        export(table, {tmp_path / "r.json": {"type": "coco", "annotations": str(file)}})
    assert not (tmp_path / "r.json").exists()


def test_pictures_show_the_sure_boxes_on_the_original_photo(table: Table, tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "old.jpg").write_bytes(b"of before")
    export(table, {tmp_path / "drawn": "drawn_boxes"})
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["0.jpg", "2.jpg"]
    with Image.open(tmp_path / "drawn" / "0.jpg") as image:
        assert image.size == (512, 256)  # small ones are enlarged
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert np.ptp(pixels[130, 64:68], axis=1).max() > 60  # the left side of the dog's box
    assert np.abs(pixels[250, 4:500] - 90).max() < 40  # the unsure cat's is not there


def test_what_can_not_be_exported_is_refused_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    other = Schema(columns=(), targets=(TARGET, DetectionTarget(name="parts", columns=("parts",), num_rows=1)))
    for exports, schema, message in (
        ({"r.json": "coco"}, Schema(columns=(), targets=()), "holds predictions of detection, and no target is"),
        ({"r.json": "coco"}, other, r"several targets are of detection \(boxes, parts\)"),
        ({"r.json": "{type: coco, target: no_such}"}, other, "no target 'no_such'"),
        ({"r.txt": "coco"}, SCHEMA, r"expected a name in \.json"),
        ({"r.json": "koko"}, SCHEMA, "export to r.json: no exporter is named 'koko' "),
        ({tmp_path / "file": "drawn_boxes"}, SCHEMA, "writes a folder, and a file is there"),
        ({"a": "drawn_boxes", "./a": "drawn_boxes"}, SCHEMA, "two exports have this name"),
    ):
        with pytest.raises(ConfigError, match=message):
            exporters_of(exports, schema)  # type: ignore[arg-type]
    assert exporters_of({"r.json": {"type": "coco", "target": "parts"}}, other)[0][2].name == "parts"
