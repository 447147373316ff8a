"""Cells read as labeled boxes, in pixels of the same row's image.

    [{"label": "cat", "box": [left, top, right, bottom]}, ...]
    [{"label": "cat", "bbox": [left, top, width, height]}, ...]      as COCO has it
    [{"label": "cat", "polygon": [x, y, x, y, ...]}, ...]            the box around it; several parts: [[...], [...]]
    a single one of them; any of these as JSON text; [] where an image shows nothing

A box may say more: `"crowd": true` (COCO's `iscrowd`) for a group that is not told apart, `"difficult": true` (PASCAL
VOC's), neither of which is to be found, and `"area"` in pixels, where a thing's own is known. Labels are words; other
keys are left alone. Pixel i spans [i, i + 1], so a box from 0 to an image's width covers all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from polysense.data.media.media import short
from polysense.data.values.json_cell import from_json
from polysense.errors import DecodeError
from polysense.evaluation.metrics.instance_matching import CROWD, DIFFICULT

__all__ = ["EXPECTED", "Boxes", "looks_like_boxes", "read_boxes"]

_MOST_BOXES = 10_000
_FURTHEST = 1e6  # pixels
_PLACES = ("box", "bbox", "polygon")
_FORMS = '{"label": ..., "box": [left, top, right, bottom]}'
EXPECTED = f"boxes such as {_FORMS}"


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one image.

    Attributes:
        labels: What each shows.
        corners: Left, top, right and bottom, in pixels of the image.
        areas: In pixels.
        kinds: 0, `CROWD` or `DIFFICULT`.
    """

    labels: tuple[str, ...]
    corners: Float[np.ndarray, "boxes 4"]
    areas: Float[np.ndarray, " boxes"]
    kinds: Int[np.ndarray, " boxes"]

    def __len__(self) -> int:
        return len(self.labels)


def looks_like_boxes(cell: object) -> bool:
    """Whether a cell is a list of labeled boxes, or one of them; a list without any might be anything."""
    parts = [cell] if isinstance(cell, Mapping) else cell
    return (
        isinstance(parts, (list, tuple))
        and len(parts) > 0
        and all(isinstance(part, Mapping) and "label" in part and {"box", "bbox"} & {*part} for part in parts)
    )


def read_boxes(cell: object) -> Boxes:
    """Reads a cell.

    Raises:
        DecodeError: It is none of these, or a box of it is broken; the message says which.
    """
    cell = from_json(cell, EXPECTED)
    parts = [cell] if isinstance(cell, Mapping) else cell
    if not isinstance(parts, (list, tuple)):
        raise DecodeError(f"found {short(cell)}, expected a list of boxes such as {_FORMS}, or []")
    if len(parts) > _MOST_BOXES:
        raise DecodeError(f"found {len(parts):,} boxes, expected {_MOST_BOXES:,} at most")
    labels, corners, areas, kinds = [], [], [], []
    for number, part in enumerate(parts):
        try:
            label, box, area, kind = _read(part)
        except DecodeError as error:
            raise DecodeError(f"box {number + 1} of {len(parts)}: {error}") from None
        labels.append(label)
        corners.append(box)
        areas.append(area)
        kinds.append(kind)
    return Boxes(
        tuple(labels),
        np.array(corners, dtype=np.float64).reshape(-1, 4),
        np.array(areas, dtype=np.float64),
        np.array(kinds, dtype=np.int64),
    )


def _read(part: object) -> tuple[str, list[float], float, int]:
    if not isinstance(part, Mapping):
        raise DecodeError(f"found {short(part)}, expected {_FORMS}")
    label = part.get("label")
    if isinstance(label, bool) or not isinstance(label, (str, int)) or not str(label).strip():
        raise DecodeError(f"found the label {short(label)}, expected a word")
    place = next((name for name in _PLACES if part.get(name) is not None), None)
    if place is None:
        raise DecodeError(f"found the keys {short(sorted(map(str, part)))}, expected {_FORMS}")
    if place == "polygon":
        box = _around(part[place])
    else:
        box = _numbers(part[place], 4, place)
        if place == "bbox":
            box = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    if not (box[2] > box[0] and box[3] > box[1]):
        order = "left, top, width, height" if place == "bbox" else "left, top, right, bottom"
        raise DecodeError(f"found the {place} {short(part[place])}, which has no area; expected [{order}]")
    area = (box[2] - box[0]) * (box[3] - box[1])
    if (stated := part.get("area")) is not None:
        (area,) = _numbers([stated], 1, "area")
        if area < 0:
            raise DecodeError(f"found the area {short(stated)}, expected pixels, 0 or more")
    if _flag(part, "crowd") or _flag(part, "iscrowd"):
        return str(label).strip(), box, area, CROWD
    return str(label).strip(), box, area, DIFFICULT if _flag(part, "difficult") else 0


def _flag(part: Mapping[object, object], name: str) -> bool:
    value = part.get(name)
    if value is None or value in (0, 1, "0", "1"):
        return value in (1, "1")
    raise DecodeError(f"found {name} {short(value)}, expected true or false")


def _around(polygon: object) -> list[float]:
    """The box around a polygon, or around several parts of one thing."""
    parts = (
        polygon if isinstance(polygon, (list, tuple)) and polygon and isinstance(polygon[0], (list, tuple)) else None
    )
    points: list[float] = []
    for part in [polygon] if parts is None else parts:
        if not isinstance(part, (list, tuple)) or len(part) < 6 or len(part) % 2:
            raise DecodeError(
                f"found the polygon {short(part)}, expected three points or more: [x, y, x, y, x, y, ...]"
            )
        points += _numbers(part, len(part), "polygon")
    return [min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])]


def _numbers(values: object, num: int, name: str) -> list[float]:
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)) or len(values) != num:
        raise DecodeError(f"found the {name} {short(values)}, expected {num} numbers")
    numbers = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _FURTHEST:
            raise DecodeError(f"found {short(value)} in {name}, expected a finite number of pixels")
        numbers.append(float(value))
    return numbers
