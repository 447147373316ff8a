"""YOLO's annotations: a text file for each image, with one box in each line.

    data.yaml, images/train/1.jpg, labels/train/1.txt

A line is a class's number, then center, width and height as fractions of the image's, or three corners and more of a
polygon. Names of classes come from `data.yaml` (or another YAML file with `names`), `classes.txt`, `obj.names`; labels
are never numbers, so without names nothing is read. An image without a text file shows nothing, where others of its
folder have one; where the whole folder of labels is missing, nobody has looked, and the cell is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from polysense.data.importing import ImportedRow, ImporterConfig, named_split, read_limited
from polysense.data.media.media import short
from polysense.data.media.raster import image_size
from polysense.errors import DecodeError, TableError

__all__ = ["YoloConfig"]

_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
_NAMES = ("classes.txt", "obj.names", "labels/classes.txt")
_MAX_LABELS = 2**24


@dataclass(frozen=True, kw_only=True)
class YoloConfig(ImporterConfig):
    """YOLO: a folder of images and labels (a text file for each image), with the names of the classes."""

    type: Literal["yolo"] = "yolo"

    def recognizes(self, source: Path) -> bool:
        folder = source if source.is_dir() else source.parent
        if source.is_file():
            return source.suffix in (".yaml", ".yml") and b"names" in source.read_bytes()[:_MAX_LABELS]
        return any(folder.glob("**/labels")) and _names_file(folder) is not None

    def rows(self, source: Path) -> Iterator[ImportedRow]:
        folder = source if source.is_dir() else source.parent
        file = source if source.is_file() else _names_file(folder)
        if file is None:
            raise TableError(
                f"{folder}: nothing names the classes of YOLO's labels; expected data.yaml with `names`, or classes.txt"
            )
        names, content = _names(file)
        for image in sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES and path.is_file()):
            split = _split(image, folder, content)
            cells: dict[str, object] = {} if split is None else {"split": split}
            cells["objects"] = _boxes(image, folder, names)
            yield ImportedRow(file={"image": image}, cells=cells, source=str(image))


def _names_file(folder: Path) -> Path | None:
    for path in [*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))]:
        try:
            content = yaml.safe_load(read_limited(path, _MAX_LABELS))
        except (yaml.YAMLError, TableError):
            continue
        if isinstance(content, Mapping) and content.get("names"):
            return path
    return next((path for name in _NAMES if (path := folder / name).is_file()), None)


def _names(file: Path) -> tuple[dict[int, str], Mapping[str, Any]]:
    """The classes by number, and what else the file says."""
    text = read_limited(file, _MAX_LABELS)
    if file.suffix not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip())), {}
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TableError(f"{file}: is not valid YAML: {' '.join(str(error).split())}") from None
    names = content.get("names") if isinstance(content, Mapping) else None
    pairs = list(names.items()) if isinstance(names, Mapping) else list(enumerate(names or ()))
    if not pairs or not all(str(number).isdecimal() for number, _ in pairs):
        raise TableError(f"{file}: its names are {short(names)}, expected a list, or names by number")
    return {int(number): str(name) for number, name in pairs}, content


def _split(image: Path, folder: Path, content: Mapping[str, Any]) -> str | None:
    """The part that the YAML file has an image's folder for, else that the folder's own name says."""
    root = folder / str(content.get("path", ""))
    for key, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        entries = content.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, str):
                for base in (root, folder):
                    if image.is_relative_to((base / entry.removeprefix("../")).resolve()) or image.is_relative_to(
                        base / entry.removeprefix("../")
                    ):
                        return split
    return next(filter(None, map(named_split, image.relative_to(folder).parts[:-1])), None)


def _boxes(image: Path, folder: Path, names: Mapping[int, str]) -> list[dict[str, object]] | None:
    parts = list(image.relative_to(folder).parts)
    places = [i for i, part in enumerate(parts) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    labels = folder.joinpath(*parts).with_suffix(".txt")
    if not labels.is_file():
        return [] if any(labels.parent.glob("*.txt")) else None
    try:
        height, width = image_size(image.name, image.parent)
    except DecodeError as error:
        raise TableError(f"{image}: its boxes are fractions of its size, and it can't be read: {error}") from None
    boxes: list[dict[str, object]] = []
    for number, line in enumerate(read_limited(labels, _MAX_LABELS).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        where = f"{labels}, line {number}"
        try:
            index, values = int(fields[0]), [float(each) for each in fields[1:]]
        except ValueError:
            raise TableError(f"{where}: found {short(line)}, expected a class's number and fractions") from None
        if index not in names:
            raise TableError(f"{where}: found class {index}, expected one of the {len(names)} that are named")
        if not all(abs(value) <= 2 for value in values):
            raise TableError(f"{where}: found {short(line)}, expected fractions of the image's width and height")
        if len(values) in (4, 5):  # a prediction's score may stand behind
            x, y, wide, high = (v * side for v, side in zip(values, (width, height, width, height), strict=False))
            box = [round(each, 3) for each in (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)]
            boxes.append({"label": names[index], "box": box})
        elif len(values) >= 6 and len(values) % 2 == 0:
            corners = [round(value * (height if i % 2 else width), 3) for i, value in enumerate(values)]
            xs, ys = corners[::2], corners[1::2]
            boxes.append({"label": names[index], "box": [min(xs), min(ys), max(xs), max(ys)], "polygon": corners})
        else:
            raise TableError(f"{where}: found {len(values)} numbers, expected 4 of a box, or corners of a polygon")
    return boxes
