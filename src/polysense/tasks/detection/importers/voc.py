"""PASCAL VOC's annotations: an XML file for each image.

Everingham et al., "The PASCAL visual object classes challenge", 2010; its development kit, section 4.1. Pixels count
from 1 and both ends belong to a box, so a box from 1 to an image's width covers all of it. `ImageSets/Main` says which
image belongs to which part, where it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from polysense.data.importing import ImportedRow, ImporterConfig, read_limited
from polysense.data.media.media import short
from polysense.errors import TableError

__all__ = ["VocConfig"]

_MAX_BYTES = 2**24
_PARTS = (("train", "train"), ("val", "validation"), ("test", "test"))
_FOLDERS = ("JPEGImages", "images", "Images", ".")
_HEAD = 2048


@dataclass(frozen=True, kw_only=True)
class VocConfig(ImporterConfig):
    """PASCAL VOC: a folder with an XML file for each image (`Annotations`) and the images (`JPEGImages`)."""

    type: Literal["voc"] = "voc"

    def recognizes(self, source: Path) -> bool:
        files = _files(source)
        if not files:
            return False
        try:
            with files[0].open("rb") as stream:
                return b"<annotation" in stream.read(_HEAD)
        except OSError:
            return False

    def rows(self, source: Path) -> Iterator[ImportedRow]:
        splits = _splits(source)
        for file in _files(source):
            root = _parsed(file)
            name = (root.findtext("filename") or "").strip() or f"{file.stem}.jpg"
            split = splits.get(file.stem)
            cells: dict[str, object] = {} if split is None else {"split": split}
            cells["objects"] = [_box(one, file, place) for place, one in enumerate(root.iter("object"), 1)]
            yield ImportedRow(file={"image": _located(name, file, source)}, cells=cells, source=str(file))


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return []
    return sorted((source / "Annotations").glob("*.xml")) or sorted(source.glob("*.xml"))


def _parsed(file: Path) -> ElementTree.Element:
    text = read_limited(file, _MAX_BYTES)
    if "<!ENTITY" in text or "<!DOCTYPE" in text:  # entities can make a small file fill the memory
        raise TableError(f"{file}: declares a document type or entities, which annotations do not need; remove them")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise TableError(f"{file}: is not valid XML: {error}") from None


def _box(one: ElementTree.Element, file: Path, place: int) -> dict[str, object]:
    where, label = f"{file}, object {place}", (one.findtext("name") or "").strip()
    if not label:
        raise TableError(f"{where}: has no name, expected a class")
    sides = []
    for name in ("xmin", "ymin", "xmax", "ymax"):
        text = (one.findtext(f"bndbox/{name}") or "").strip()
        try:
            sides.append(float(text))
        except ValueError:
            raise TableError(f"{where}: its {name} is {short(text)}, expected a number of pixels") from None
    box: dict[str, object] = {"label": label, "box": [sides[0] - 1, sides[1] - 1, sides[2], sides[3]]}
    if (one.findtext("difficult") or "").strip() == "1":
        box["difficult"] = True
    return box


def _splits(source: Path) -> dict[str, str]:
    """Which part each image belongs to, by `ImageSets`; one that stands in several is of the last."""
    result: dict[str, str] = {}
    for name, split in _PARTS:
        path = source / "ImageSets" / "Main" / f"{name}.txt"
        if path.is_file():
            for line in read_limited(path, _MAX_BYTES).splitlines():
                if line.strip():
                    result[line.split()[0]] = split
    return result


def _located(name: str, file: Path, source: Path) -> Path:
    """Where an image is; in the first folder if it is nowhere, so that it is missed under its own name."""
    folders = [source / folder for folder in _FOLDERS] + [file.parent]
    return next((path for folder in folders if (path := folder / name).is_file()), folders[0] / name)
