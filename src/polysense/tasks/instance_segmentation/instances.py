"""Cells read as labeled things with a mask each, in pixels of the same row's image.

    [{"label": "cat", "polygon": [x, y, x, y, ...]}, ...]         several parts of one thing: "polygon": [[...], ...]
    [{"label": "cat", "rle": {"size": [height, width], "counts": [...] or "..."}}, ...]      as COCO has it
    [{"label": "cat", "mask": "masks/1.png"}, ...]                a file for each thing: all pixels but 0 are its own
    {"size": [height, width], "segments": [...]}                  where nothing else says how large the image is
    a single thing; any of these as JSON text; [] where an image shows nothing

A thing may say more: `"crowd": true` (COCO's `iscrowd`) for a group that is not told apart, `"difficult": true`,
neither of which is to be found, and `"area"` in pixels; other keys are left alone. Things may overlap. A polygon holds
the pixels whose centers lie in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from polysense.data.media.mask_codes import (
    MAX_PIXELS,
    decode_counts,
    filled,
    polygon_parts,
    read_plane,
    read_size,
    run_lengths,
)
from polysense.data.media.media import short
from polysense.data.values.json_cell import from_json
from polysense.errors import DecodeError
from polysense.evaluation.metrics.instance_matching import CROWD, DIFFICULT

__all__ = ["EXPECTED", "Instance", "looks_like_masks", "read_instances"]

_MOST_THINGS = 1_000
_FORMS = '{"label": ..., "polygon": [x, y, ...]}, or with "rle" or "mask"'
EXPECTED = f"things such as {_FORMS}"


@dataclass(frozen=True, eq=False)
class Instance:
    """One thing of an image.

    Attributes:
        label: What it is.
        runs: Its pixels in the image, see `mask_codes.run_lengths`: a thousand things are no thousand pictures.
        size: (height, width) of the image.
        area: In pixels.
        kind: 0, `CROWD` or `DIFFICULT`.
    """

    label: str
    runs: Int[np.ndarray, " runs"]
    size: tuple[int, int]
    area: float
    kind: int


def looks_like_masks(cell: object) -> bool:
    """Whether a cell is a list of things that each have a file of their own, which nothing else has."""
    parts = [cell] if isinstance(cell, Mapping) else cell
    return (
        isinstance(parts, (list, tuple))
        and len(parts) > 0
        and all(isinstance(part, Mapping) and {"label", "mask"} <= {*part} for part in parts)
    )


def read_instances(cell: object, root: Path, size: tuple[int, int] | None = None) -> list[Instance]:
    """Reads a cell.

    Args:
        cell: See the module.
        root: The folder that relative paths start from.
        size: (height, width) of the image; None where it is missing. Polygons then lie in what they reach.

    Raises:
        DecodeError: It is none of these, or a thing of it is broken or of another size; the message says which.
    """
    cell = from_json(cell, EXPECTED)
    stated = None
    if isinstance(cell, Mapping) and "segments" in cell:
        stated, cell = read_size(cell.get("size")), cell["segments"]
    parts = [cell] if isinstance(cell, Mapping) else cell
    if not isinstance(parts, (list, tuple)):
        raise DecodeError(f"found {short(cell)}, expected a list of things such as {_FORMS}, or []")
    if len(parts) > _MOST_THINGS:
        raise DecodeError(f"found {len(parts):,} things, expected {_MOST_THINGS:,} at most")
    if size is not None and stated is not None and stated != size:
        raise DecodeError(f"found the size {[*stated]}, expected {[*size]} as its image has")
    things = []
    for number, part in enumerate(parts):
        try:
            things.append(_read(part, root, size or stated))
        except DecodeError as error:
            raise DecodeError(f"thing {number + 1} of {len(parts)}: {error}") from None
    return things


def _read(part: object, root: Path, size: tuple[int, int] | None) -> Instance:
    if not isinstance(part, Mapping):
        raise DecodeError(f"found {short(part)}, expected {_FORMS}")
    label = part.get("label")
    if isinstance(label, bool) or not isinstance(label, (str, int)) or not str(label).strip():
        raise DecodeError(f"found the label {short(label)}, expected a word")
    inside = _inside(part, root, size)
    if size is not None and inside.shape != size:
        raise DecodeError(f"its mask has {inside.shape[1]} x {inside.shape[0]} pixels, expected {size[1]} x {size[0]}")
    area = part.get("area")
    if area is not None and (isinstance(area, bool) or not isinstance(area, (int, float)) or not 0 <= area < 1e12):
        raise DecodeError(f"found the area {short(area)}, expected pixels, 0 or more")
    crowd = _flag(part, "crowd") or _flag(part, "iscrowd")
    kind = CROWD if crowd else DIFFICULT if _flag(part, "difficult") else 0
    shape = (inside.shape[0], inside.shape[1])
    pixels = float(inside.sum()) if area is None else float(area)
    return Instance(str(label).strip(), run_lengths(inside), shape, pixels, kind)


def _inside(part: Mapping[object, object], root: Path, size: tuple[int, int] | None) -> np.ndarray:
    if part.get("rle") is not None:
        return decode_counts(part["rle"])
    if part.get("mask") is not None:
        plane: np.ndarray = read_plane(part["mask"], root) != 0
        return plane
    if part.get("polygon") is None:
        raise DecodeError(f"found the keys {short(sorted(map(str, part)))}, expected {_FORMS}")
    parts = polygon_parts(part["polygon"])
    if size is None:
        width, height = (max(1, int(np.ceil(max(point[axis] for one in parts for point in one)))) for axis in (0, 1))
        size = (height, width)
        if height * width > MAX_PIXELS:
            raise DecodeError(f"its polygon reaches {width:,} x {height:,} pixels, expected at most {MAX_PIXELS:,}")
    return filled(parts, size)


def _flag(part: Mapping[object, object], name: str) -> bool:
    value = part.get(name)
    if value is None or value in (0, 1, "0", "1"):
        return value in (1, "1")
    raise DecodeError(f"found {name} {short(value)}, expected true or false")
