"""COCO's annotations: JSON files of images, categories and annotations.

Lin et al., "Microsoft COCO: Common objects in context", 2014; cocodataset.org, "Data format". One file, or a folder
with several (`annotations/instances_train2017.json`, ...); files that annotate the same images are put together,
so boxes, masks and captions of an image stand in one row. Images are looked for beside the file, in folders named as
its split, and in `images`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polysense.core.json import parse_json
from polysense.data.importing import ImportedRow, ImporterConfig, named_split, read_limited
from polysense.data.media.media import short
from polysense.errors import TableError

__all__ = ["CocoConfig"]

_HEAD = 2**16
_YEAR = re.compile(r"\d{4}$")


@dataclass(frozen=True, kw_only=True)
class CocoConfig(ImporterConfig):
    """COCO: a JSON file of images, categories and annotations (boxes, segments, captions), or a folder of them."""

    type: Literal["coco"] = "coco"

    def recognizes(self, source: Path) -> bool:
        return bool(_files(source))

    def rows(self, source: Path) -> Iterator[ImportedRow]:
        rows: dict[Path, dict[str, Any]] = {}
        sources: dict[Path, str] = {}
        for file in _files(source):
            for image, cells in _images(file, source if source.is_dir() else source.parent):
                own = rows.setdefault(image, {})
                sources.setdefault(image, str(file))
                for name, value in cells.items():
                    own[name] = [*own[name], *value] if isinstance(value, list) and name in own else value
        for image, cells in rows.items():
            yield ImportedRow(file={"image": image}, cells=cells, source=sources[image])


def _files(source: Path) -> list[Path]:
    """The JSON files that are COCO's, by name."""
    if source.is_file():
        candidates = [source] if source.suffix == ".json" else []
    else:
        candidates = sorted(source.glob("*.json")) + sorted(source.glob("annotations/*.json"))
    return [each for each in candidates if _is_coco(each)]


def _is_coco(file: Path) -> bool:
    """By its size's first and last parts: keys may come in any order, and images before annotations or behind."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _HEAD))
            text = head + stream.read()
    except OSError:
        return False
    return head.lstrip()[:1] == b"{" and b'"image' in text and (b'"annotations"' in text or b'"image_id"' in text)


def _images(file: Path, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    try:
        content = parse_json(read_limited(file), object, constants=True)
    except ValueError as error:
        raise TableError(f"{file}: is not valid JSON ({error}); expected COCO's annotations") from None
    if not isinstance(content, Mapping) or not isinstance(content.get("images"), list):
        raise TableError(f"{file}: has no list of images; expected COCO's annotations")
    names = {}
    for place, one in enumerate(_listed(content, "categories", file, optional=True)):
        if "id" not in one or not isinstance(one.get("name"), str):
            raise TableError(f"{file}, categories, entry {place}: found {short(one)}, expected id and name")
        names[one["id"]] = one["name"]
    cells: dict[Any, dict[str, Any]] = {}
    paths: dict[Any, Path] = {}
    split = named_split(file.stem)
    for place, one in enumerate(_listed(content, "images", file)):
        if "id" not in one or not isinstance(one.get("file_name"), str):
            raise TableError(f"{file}, images, entry {place}: found {short(one)}, expected id and file_name")
        if one["id"] in cells:
            raise TableError(f"{file}, images, entry {place}: the id {one['id']!r} is another image's, too")
        cells[one["id"]] = {} if split is None else {"split": split}
        paths[one["id"]] = _located(one["file_name"], file, folder)
        if names and "annotations" in content:  # else nobody has looked
            cells[one["id"]]["objects"] = []
    for place, one in enumerate(_listed(content, "annotations", file, optional=True)):
        where = f"{file}, annotations, entry {place}"
        if one.get("image_id") not in cells:
            raise TableError(f"{where}: its image_id is {one.get('image_id')!r}, expected one of the images")
        own = cells[one["image_id"]]
        if isinstance(one.get("caption"), str):
            own.setdefault("captions", []).append(one["caption"].strip())
            continue
        if one.get("category_id") not in names:
            raise TableError(f"{where}: its category_id is {one.get('category_id')!r}, expected one of the categories")
        label = names[one["category_id"]]
        if one.get("bbox") is not None:
            box = {"label": label, "bbox": one["bbox"]}
            box |= {"area": one["area"]} if one.get("area") is not None else {}
            own["objects"].append(box | ({"crowd": True} if one.get("iscrowd") else {}))
        segmentation = one.get("segmentation")
        if segmentation:
            key = "rle" if isinstance(segmentation, Mapping) else "polygon"
            segment = {"label": label, key: segmentation}
            segment |= {"area": one["area"]} if one.get("area") is not None else {}
            own.setdefault("segments", []).append(segment | ({"crowd": True} if one.get("iscrowd") else {}))
    has_segments = any("segments" in own for own in cells.values())
    for number, own in cells.items():
        if has_segments and "objects" in own:
            own.setdefault("segments", [])
        yield paths[number], own


def _listed(content: Mapping[str, Any], name: str, file: Path, *, optional: bool = False) -> list[Mapping[str, Any]]:
    entries = content.get(name)
    if entries is None and optional:
        return []
    if not isinstance(entries, list) or not all(isinstance(each, Mapping) for each in entries):
        raise TableError(f"{file}: its {name} are {short(entries)}, expected a list of objects")
    return entries


def _located(name: str, file: Path, folder: Path) -> Path:
    """Where an image is; beside the annotations if it is nowhere, so that it is missed under its own name."""
    part = file.stem.removeprefix("instances_").removeprefix("captions_").removeprefix("person_keypoints_")
    names = dict.fromkeys(["", "images", part, _YEAR.sub("", part), f"images/{part}", f"images/{_YEAR.sub('', part)}"])
    for root in dict.fromkeys([file.parent, folder, file.parent.parent]):
        for inner in names:
            if (path := root / inner / name).is_file():
                return path
    return file.parent / name
