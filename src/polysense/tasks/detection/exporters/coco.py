"""COCO's results: a JSON file that pycocotools and the servers of benchmarks score.

    [{"image_id": 139, "category_id": 62, "bbox": [left, top, width, height], "score": 0.91}, ...]

All detections are in it, also those that are too unsure to be written into tables, since average precision counts them.
Numbers of images and categories are those of an annotation file; without one images have their row's number, categories
count from 1 in the order of the model's classes, and each entry says its file and label too.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from polysense.core.files import write_text
from polysense.core.geometry import Geometry
from polysense.core.json import parse_json
from polysense.core.logs import get_logger
from polysense.core.schema import Target
from polysense.core.task_spec import Arrays
from polysense.data.exporting import Export, ExporterConfig
from polysense.data.importing import read_limited
from polysense.data.media.media import short
from polysense.data.tables.frame_file import naming
from polysense.data.tables.sources import Table
from polysense.errors import TableError
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.spec import in_original

__all__ = ["CocoExporterConfig"]

_log = get_logger("polysense.export")


@dataclass(frozen=True, kw_only=True)
class CocoExporterConfig(ExporterConfig):
    """COCO's results: a JSON file of boxes with scores, for pycocotools and for the servers of benchmarks.

    Attributes:
        target: Which target, where the model has several of the task.
        annotations: A file of COCO's annotations, whose numbers the images (by their file's name) and the categories
            (by theirs) have; null numbers images by their row, and categories from 1 in the order of the model's
            classes.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"detection"})
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    type: Literal["coco"] = "coco"
    annotations: str | None = None

    def open(self, target: Target, source: str, path: Path) -> AbstractContextManager[Export]:
        numbers = None if self.annotations is None else _numbers(Path(self.annotations))
        return _opened(DetectionTarget.of(target), source, path, numbers)


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    """An annotation file's.

    Attributes:
        images: By the file's name without folders.
        categories: By name.
        where: The file.
    """

    images: Mapping[str, int | str]
    categories: Mapping[str, int]
    where: str


class _CocoExport(Export):
    """Entries by the row's number."""

    def __init__(self, target: DetectionTarget, source: str, numbers: _Numbers | None) -> None:
        self._target, self._source, self._numbers = target, source, numbers
        self._entries: dict[int, list[dict[str, Any]]] = {}
        self.unknown: list[str] = []

    def add(self, outputs: Arrays, table: Table, geometry: Mapping[str, Geometry]) -> None:
        own = geometry[self._target.over]
        for position, (number, values) in enumerate(zip(table.rows.tolist(), outputs["values"], strict=True)):
            if not own.sizes[position].all():
                continue
            name = _file_name(table.cell(position, self._source))
            image: int | str = number
            if self._numbers is not None:
                if name not in self._numbers.images:
                    self.unknown.append(name)
                    continue
                image = self._numbers.images[name]
            self._entries[number] = [
                entry
                for label, left, top, right, bottom, score in in_original(values, own, position).tolist()
                if (entry := self._entry(image, name, int(label), (left, top, right - left, bottom - top), score))
            ]

    def _entry(
        self, image: int | str, name: str, label: int, box: tuple[float, ...], score: float
    ) -> dict[str, Any] | None:
        word = self._target.classes[label]
        entry = {
            "image_id": image, "category_id": label + 1, "bbox": [round(side, 3) for side in box],
            "score": round(score, 6),
        }  # fmt: skip
        if self._numbers is None:
            return {**entry, "label": word, "file_name": name}
        category = self._numbers.categories.get(word)
        return None if category is None else {**entry, "category_id": category}

    def text(self) -> str:
        """The file's, in the table's order."""
        entries = [entry for number in sorted(self._entries) for entry in self._entries[number]]
        return "[" + ",\n ".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "]\n"


@contextlib.contextmanager
def _opened(target: DetectionTarget, source: str, path: Path, numbers: _Numbers | None) -> Iterator[Export]:
    if numbers is not None and (strange := [name for name in target.classes if name not in numbers.categories]):
        known = ", ".join(list(numbers.categories)[:10]) or "none"
        if len(strange) == len(target.classes):
            raise TableError(
                f"{numbers.where}: has none of the model's classes ({', '.join(strange[:10])}); its categories: {known}"
            )
        _log.warning("%s: has no categories for the classes %s: these boxes are left out", numbers.where,
                     ", ".join(strange[:10]))  # fmt: skip
    export = _CocoExport(target, source, numbers)
    yield export
    if numbers is not None and export.unknown:
        _log.warning("%s: has no image named %s%s: left out", numbers.where, export.unknown[0],
                     f" and {len(export.unknown) - 1} more" if len(export.unknown) > 1 else "")  # fmt: skip
    with naming(path):
        write_text(path, export.text())


def _file_name(cell: object) -> str:
    """The name of the file that a cell names; "" where it holds the bytes alone."""
    value = cell.get("path") if isinstance(cell, Mapping) else cell
    value = value[0] if isinstance(value, (list, tuple)) and value else value
    return str(value).replace("\\", "/").rpartition("/")[2] if isinstance(value, (str, Path)) else ""


def _numbers(file: Path) -> _Numbers:
    """Those of an annotation file.

    Raises:
        TableError: It can't be read, or says none.
    """
    try:
        content = parse_json(read_limited(file), object, constants=True)
    except ValueError as error:
        raise TableError(f"{file}: is not valid JSON ({error}); expected COCO's annotations") from None
    tables: list[dict[str, Any]] = []
    for part, key in (("images", "file_name"), ("categories", "name")):
        entries = content.get(part) if isinstance(content, Mapping) else None
        if not isinstance(entries, list):
            raise TableError(f"{file}: has no list of {part}; expected COCO's annotations")
        numbers: dict[str, Any] = {}
        for place, one in enumerate(entries):
            name = one.get(key) if isinstance(one, Mapping) else None
            if not isinstance(name, str) or not isinstance(one.get("id"), (int, str)):
                raise TableError(f"{file}, {part}, entry {place}: found {short(one)}, expected id and {key}")
            name = _file_name(name) if part == "images" else name
            if name in numbers:
                raise TableError(f"{file}, {part}, entry {place}: two are named {name!r}, which tells no number")
            numbers[name] = one["id"]
        tables.append(numbers)
    return _Numbers(images=tables[0], categories=tables[1], where=str(file))
